# SPDX-License-Identifier: Apache-2.0
"""Reads the messages of gRPC requests, some at a time: a message's size is known only when all of it is in memory."""

import asyncio
from typing import Any

import grpc

from serving.local_server.signature import RequestError, invalid

MAX_READING = 8
# The message must have come after this time, even a large one on a busy machine.
READ_SECONDS = 30
# Where others wait, it must have come after this one.
BUSY_SECONDS = 0.25


class MessageReader:
    """Reads the messages of MAX_READING requests at once; more push out those that keep them waiting."""

    def __init__(self) -> None:
        self._begun: dict[asyncio.Future[Any], float] = {}

    async def read(self, context: grpc.aio.ServicerContext) -> bytes:
        """The only message of a request.

        Raises:
            RequestError: there is none, or it does not come in time.
        """
        await self._room()
        # Not from the handler's iterator, which keeps the message in memory after its request has ended.
        reading = asyncio.ensure_future(context.read())
        self._begun[reading] = asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(reading, READ_SECONDS)
        except asyncio.TimeoutError as error:
            told = f"the request's message did not come within {READ_SECONDS} seconds"
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, told) from error
        except asyncio.CancelledError as error:
            if reading in self._begun:
                raise
            told = "the request's message comes too slowly while other requests wait; ask again later"
            raise RequestError(grpc.StatusCode.UNAVAILABLE, told) from error
        finally:
            self._begun.pop(reading, None)
        if message is grpc.aio.EOF:
            raise invalid("the request has no message")
        return message

    async def _room(self) -> None:
        """Waits until one more message may be read."""
        while len(self._begun) >= MAX_READING:
            oldest, begun = next(iter(self._begun.items()))
            left = begun + BUSY_SECONDS - asyncio.get_running_loop().time()
            if left > 0:
                await asyncio.wait(self._begun, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            else:
                del self._begun[oldest]
                oldest.cancel()
