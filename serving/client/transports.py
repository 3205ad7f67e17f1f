# SPDX-License-Identifier: Apache-2.0
"""How a client talks to a server: whom it asks, and the interfaces of what writes, sends and reads a request."""

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.model_versions import HIGHEST_VERSION

SIGNATURE = "serving_default"
# Far above any honest answer: an endless one must end in an error, not in the loss of all memory.
MAX_ANSWER_BYTES = 64 << 20
TIMEOUT = 10.0

_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_PORT = re.compile("[0-9]{1,5}")


class PredictionError(CrossDistilError):
    """A prediction that could not be had: of the request, of the server, or of the way between them.

    Attributes:
        code: the name of gRPC's status code for it, through REST too: `INVALID_ARGUMENT` (the request does not fit the model),
            `NOT_FOUND`, `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, `INTERNAL` (a fault of the server) and so on.
    """

    def __init__(self, message: str, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type["PredictionError"], tuple[str, str]]:
        """Keeps the code on the way to another process."""
        return type(self), (str(self), self.code)

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed a moment later; the client has then used up its own repetitions."""
        return self.code == "UNAVAILABLE"


class BusyError(PredictionError):
    """The server had no room for the request, whatever it calls that."""

    @property
    def retryable(self) -> bool:
        """A moment later there may be room."""
        return True


@dataclass(frozen=True)
class ModelInput:
    """What a model takes by one name: a dtype such as `DT_FLOAT`, and whether a row has a list of such values."""

    dtype: str
    is_list: bool = False


@dataclass(frozen=True)
class ModelSignature:
    """What a model takes and gives: the inputs by name, and the outputs: the tasks, and `score` where an export has one."""

    inputs: Mapping[str, ModelInput]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Endpoint:
    """Whom a client asks: `address` is HOST:PORT; the newest version of `model` where neither version nor label is given.

    Raises:
        UsageError: the address is none, the timeout or the version is out of range, the model's name or the label cannot be
            sent, or both a version and a label are given.
    """

    address: str
    model: str
    timeout: float = TIMEOUT
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if not (_is_host(host) and _PORT.fullmatch(port) and 0 < int(port) < 1 << 16):
            raise UsageError(
                "a server's address is HOST:PORT alone, such as 127.0.0.1:8500, ranker.example:8500 or [::1]:8500; "
                f"received {self.address!r}"
            )
        if not 0 < self.timeout < math.inf:
            raise UsageError(f"a timeout is a number of seconds above 0; received {self.timeout}")
        if self.version is not None and self.label is not None:
            raise UsageError(f"give a version or a label, not both; received version {self.version} and label '{self.label}'")
        if self.version is not None and not 1 <= self.version <= HIGHEST_VERSION:
            raise UsageError(f"a version is a whole number from 1 to {HIGHEST_VERSION}; received {self.version}")
        for what, name in (("model", self.model), ("label", self.label)):
            if name is not None and not is_encodable(name):
                raise UsageError(f"the {what} must be text that UTF-8 can write; received {name!r}")

    @property
    def served(self) -> str:
        """The model in words, with its version or label."""
        if self.version is not None:
            return f"version {self.version} of the model '{self.model}'"
        return f"the model '{self.model}'" + (f" with the label '{self.label}'" if self.label is not None else "")

    def unavailable(self, reason: str) -> PredictionError:
        """Nothing listens at the address, or what listens takes no requests now."""
        return PredictionError(
            f"no server answers at {self.address} ({reason}); start one with `crossdistil serve DIR/{self.model}`, give the "
            "HOST:PORT of a running one (gRPC and REST have different ports), or try again later if it is overloaded",
            "UNAVAILABLE",
        )

    def busy(self, reason: str, code: str = "UNAVAILABLE") -> PredictionError:
        """The server turned the request away, as it has too many others."""
        return BusyError(
            f"{self.address} has no room for the request now ({reason}); send fewer requests at once, or try again later", code
        )

    def broken_off(self, reason: str) -> PredictionError:
        """The connection ended before the answer did."""
        return PredictionError(
            f"{self.address} did not answer to the end ({reason}); is it a REST port, and does its server still run?",
            "UNAVAILABLE",
        )

    def too_late(self) -> PredictionError:
        """The server took longer than the timeout."""
        return PredictionError(
            f"{self.address} did not answer within {self.timeout:g} s; give a longer timeout, or see what keeps it busy",
            "DEADLINE_EXCEEDED",
        )

    def not_found(self, reason: str) -> PredictionError:
        """The server does not serve the model."""
        return PredictionError(f"{self.address} does not serve {self.served}: {reason}", "NOT_FOUND")

    def refused(self, reason: str, code: str = "INTERNAL") -> PredictionError:
        """The server found a fault with the request, or had one itself."""
        return PredictionError(f"{self.address} could not answer for {self.served}: {reason}", code)

    def failure(self, code: str, reason: str) -> PredictionError:
        """What the server answered in place of predictions; `code` is the name of gRPC's status code."""
        known = {"UNAVAILABLE": self.unavailable, "NOT_FOUND": self.not_found}
        return known[code](reason) if code in known else self.refused(reason, code)

    def no_signature(self) -> PredictionError:
        """The model cannot be asked with raw features."""
        return self.refused(f"it has no signature '{SIGNATURE}'; export it with `crossdistil export`", "NOT_FOUND")


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can write the text: not where it has half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_host(text: str) -> bool:
    if not text.startswith("["):
        return _HOST_NAME.fullmatch(text) is not None
    try:
        ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        return False
    return text.endswith("]")


class Codec(Protocol):
    """Writes requests and reads answers; pure, so that all ways of sending share it."""

    def encode_predict(self, inputs: Mapping[str, np.ndarray]) -> bytes:
        """A request for one batch: float32 or objects of type str, `[rows]` or `[rows, n]`."""

    def decode_predict(self, answer: bytes) -> dict[str, np.ndarray]:
        """Answers float32 `[rows]` by task; where a model has one task, its name may be left out and is then empty.

        Raises:
            PredictionError: the answer is not TF Serving's.
        """

    def decode_signature(self, answer: bytes) -> ModelSignature:
        """What the model takes and gives. Raises: PredictionError: the answer is not TF Serving's."""


class Transport(Protocol):
    """A connection to a server, for encoded requests; may be used by several threads at once."""

    def exchange(self, body: bytes, timeout: float | None = None) -> bytes:
        """The answer to an encoded predict request, within `timeout` or the endpoint's seconds. Raises: PredictionError."""

    def metadata(self, timeout: float | None = None) -> bytes:
        """The description of the model, within `timeout` or the endpoint's seconds. Raises: PredictionError."""

    def close(self) -> None:
        """Ends the connection."""


class AsyncTransport(Protocol):
    """A connection to a server, for encoded requests, in the event loop of its first request."""

    async def exchange(self, body: bytes, timeout: float | None = None) -> bytes:
        """The answer to an encoded predict request, within `timeout` or the endpoint's seconds. Raises: PredictionError."""

    async def metadata(self, timeout: float | None = None) -> bytes:
        """The description of the model, within `timeout` or the endpoint's seconds. Raises: PredictionError."""

    async def close(self) -> None:
        """Ends the connection."""
