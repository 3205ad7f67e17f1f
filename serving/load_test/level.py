# SPDX-License-Identifier: Apache-2.0
"""What was measured at one level of concurrency."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from typing_extensions import Self

from serving.load_test.record import Record

# From this share of a processor on, the load generator and not the server decides what is measured.
_CLIENT_LIMIT = 0.9


@dataclass(frozen=True)
class Latency:
    """Milliseconds from sending a request to its answer, over the requests that succeeded."""

    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: np.ndarray) -> Self:
        """Exact percentiles of all latencies `[requests]`, at least one; between two of them it interpolates linearly."""
        return cls(*(1000 * np.percentile(seconds, [50, 90, 99, 100])).tolist())


@dataclass(frozen=True)
class Level:
    """One level of concurrency.

    Args:
        concurrency: requests on the way at any time.
        requests: how many were sent and came to an end.
        errors: how many of them failed, by kind.
        first_error: the sentence of the first failure.
        latency: None where no request succeeded.
        requests_per_second: answers, the sum over callers of each one's answers by its own time, so that one late answer
            does not count as idleness of the others.
        rows_per_second: rows of those answers.
        client_cpu: processor time by time of the load generator's one thread, from 0 to 1.
    """

    concurrency: int
    requests: int
    errors: dict[str, int]
    first_error: str | None
    latency: Latency | None
    requests_per_second: float
    rows_per_second: float
    client_cpu: float

    @classmethod
    def of(cls, records: Sequence[Record], rows: int, client_cpu: float) -> Self:
        """Sums up the records of a level's callers, whose requests have `rows` rows each."""
        latencies = np.concatenate([np.frombuffer(record.latencies) for record in records])
        errors = sum((record.errors for record in records), Counter())
        first = min((record.first_error for record in records if record.first_error), default=None)
        rate = sum(len(record.latencies) / record.seconds for record in records if record.latencies)
        return cls(
            concurrency=len(records),
            requests=len(latencies) + errors.total(),
            errors=dict(errors.most_common()),
            first_error=first[1] if first else None,
            latency=Latency.of(latencies) if len(latencies) else None,
            requests_per_second=rate,
            rows_per_second=rate * rows,
            client_cpu=client_cpu,
        )

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(self.errors.values())

    @property
    def client_is_the_limit(self) -> bool:
        """Whether the load generator could hardly have sent more."""
        return self.client_cpu >= _CLIENT_LIMIT

    def document(self) -> dict[str, Any]:
        """As JSON has it; latencies are milliseconds."""
        content = asdict(self)
        return {"latency_ms" if name == "latency" else name: value for name, value in content.items()}
