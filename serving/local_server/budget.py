# SPDX-License-Identifier: Apache-2.0
"""The bytes that requests may have together, over both faces of the server."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from serving.local_server.signature import RequestError

# Requests of at most these bytes pass at any time, however many large ones there are.
SMALL_BYTES = 1 << 16


class Budget:
    """What the large requests that come in or are being answered hold, of `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def hold(self) -> Iterator["Hold"]:
        """What one request holds within the block; at first nothing."""
        hold = Hold(self)
        try:
            yield hold
        finally:
            hold.release()

    def change(self, more: int) -> None:
        """Raises: RequestError: there are not so many bytes left."""
        if self._held + more > self._most:
            message = "the requests that are being answered are too large together; ask again later"
            raise RequestError(grpc.StatusCode.UNAVAILABLE, message)
        self._held += more


class Hold:
    """One request's part of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def grow_to(self, size: int) -> None:
        """Holds `size` bytes, or none while they are few. Raises: RequestError: there are not so many left."""
        if size > SMALL_BYTES:
            self._budget.change(size - self._bytes)
            self._bytes = size

    def release(self) -> None:
        """Gives everything back."""
        self._budget.change(-self._bytes)
        self._bytes = 0
