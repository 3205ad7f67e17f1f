# SPDX-License-Identifier: Apache-2.0
"""The threads that answer requests, so that memory and the number of threads are bounded however many requests wait."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from serving.local_server.signature import RequestError

Answer = TypeVar("Answer")

MAX_REQUEST_BYTES = 16 << 20
# Decoded, a request takes up to some twenty times its bytes.
_LARGE_BYTES = 1 << 20


class Workers:
    """Runs the answering of requests: large ones one at a time, small ones beside them."""

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(max(4, os.cpu_count() or 1), thread_name_prefix="request")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large request")

    async def run(self, size: int, answer: Callable[..., Answer], *arguments: Any) -> Answer:
        """Calls `answer` in a thread.

        Args:
            size: the bytes of the request.
            answer: the function.
            arguments: what it is called with.
        """
        pool = self._large if size > _LARGE_BYTES else self._small
        return await asyncio.wrap_future(pool.submit(_answered, answer, *arguments))

    def close(self) -> None:
        """Waits for the calls that run; those that wait are not begun any more."""
        for pool in (self._small, self._large):
            pool.shutdown(cancel_futures=True)


def _answered(answer: Callable[..., Answer], *arguments: Any) -> Answer:
    try:
        return answer(*arguments)
    except RequestError as error:
        refusal = RequestError(error.code, str(error))
    # Not the error itself: its frames hold what was decoded of the request until the garbage collector comes by.
    raise refusal
