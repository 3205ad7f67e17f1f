# SPDX-License-Identifier: Apache-2.0
"""Repeating requests: predictions change nothing, so a request that met a server which was not ready may be sent again."""

import random
import time
from dataclasses import dataclass

from serving.client.transports import PredictionError
from tf_crossdistil.errors import UsageError

RETRIES = 3
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Retries:
    """How requests are repeated: `timeout` seconds for one, all of its pauses and its `limit` repetitions included.

    Raises:
        UsageError: the limit is negative.
    """

    timeout: float
    limit: int = RETRIES

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise UsageError(f"the number of retries is 0 or more; received {self.limit}")

    def begin(self) -> "Attempts":
        """Starts the time of a request."""
        return Attempts(self)


class Attempts:
    """The repetitions and the time that one request has left."""

    def __init__(self, retries: Retries) -> None:
        self._end = time.monotonic() + retries.timeout
        self._left = retries.limit
        self._pause = FIRST_PAUSE

    def seconds_left(self) -> float:
        """How long the next attempt may take, more than 0."""
        return max(self._end - time.monotonic(), 0.001)

    def pause_after(self, failure: PredictionError) -> float:
        """Seconds to wait before the next attempt: twice as long each time, and less by chance, so that clients spread.

        Raises:
            PredictionError: the failure itself, where there is no reason, no repetition or no time left to try again.
        """
        pause = self._pause * random.uniform(0.5, 1.0)
        if not (failure.retryable and self._left and pause < self._end - time.monotonic()):
            raise failure
        self._left -= 1
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return pause
