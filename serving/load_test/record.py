# SPDX-License-Identifier: Apache-2.0
"""What requests gave, noted while they go."""

import time
from array import array
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Record:
    """The requests of one caller; keeps every latency, 8 bytes a request.

    Args:
        latencies: seconds from sending to the answer, of requests that succeeded.
        errors: how many requests failed, by kind.
        first_error: when the first one failed, and its sentence.
        seconds: from the beginning of the level to the last answer or failure.
    """

    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)
    first_error: tuple[float, str] | None = None
    seconds: float = 0.0

    def succeeded(self, latency: float) -> None:
        """Notes an answer that took `latency` seconds."""
        self.latencies.append(latency)

    def failed(self, kind: str, sentence: str) -> None:
        """Notes a failure."""
        self.errors[kind] += 1
        if self.first_error is None:
            self.first_error = time.perf_counter(), sentence
