# SPDX-License-Identifier: Apache-2.0
"""What a load test is to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.client.transports import TIMEOUT, Endpoint
from tf_crossdistil.errors import UsageError

# Beyond it one process with one thread measures itself.
MAX_CONCURRENCY = 1024


@dataclass(frozen=True)
class Plan:
    """The settings of a load test.

    Args:
        server: HOST:PORT of the gRPC port, or of the REST port when `rest`.
        model: the name under which the server has the model.
        rest: whether to talk REST instead of gRPC.
        rows: how many a request has.
        concurrency: the levels, rising: how many callers there are.
        seconds: for how long each level is measured.
        timeout: seconds that each request may take.

    Raises:
        UsageError: the levels do not rise, or are out of range.
    """

    server: str
    model: str
    rest: bool = False
    rows: int = 64
    concurrency: Sequence[int] = (1, 2, 4, 8, 16)
    seconds: float = 5.0
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        levels = list(self.concurrency)
        if not levels or levels != sorted(set(levels)) or not 1 <= levels[0] <= levels[-1] <= MAX_CONCURRENCY:
            raise UsageError(
                f"the concurrency must be rising whole numbers from 1 to {MAX_CONCURRENCY}, such as 1,2,4,8; "
                f"received {','.join(map(str, levels)) or 'none'}"
            )

    @property
    def endpoint(self) -> Endpoint:
        """Whom it asks. Raises: UsageError: the server is not HOST:PORT."""
        return Endpoint(self.server, self.model, self.timeout)

    @property
    def protocol(self) -> str:
        """How requests are sent, in words."""
        return "REST" if self.rest else "gRPC"

    @property
    def title(self) -> str:
        """What is measured, in words."""
        return f"{self.model} at {self.server}, {self.protocol}, {self.rows} rows a request, {self.seconds:g} s a level"
