"""How a client talks to a server: the interface of a transport and the errors that all transports share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tf_crossdistil.errors import CrossDistilError, UsageError

SIGNATURE = "serving_default"


class PredictionError(CrossDistilError):
    """A prediction that could not be had: of the request, of the server, or of the way between them."""


@dataclass(frozen=True)
class ModelInput:
    """What a model takes by one name: a dtype such as `DT_FLOAT`, and whether a row has a list of such values."""

    dtype: str
    is_list: bool = False


@dataclass(frozen=True)
class ModelSignature:
    """What a model takes and gives: the inputs by name, and the tasks."""

    inputs: Mapping[str, ModelInput]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Endpoint:
    """Whom a client asks: `address` is HOST:PORT, `timeout` seconds bound each request.

    Raises:
        UsageError: the address is none.
    """

    address: str
    model: str
    timeout: float

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 1 << 16):
            raise UsageError(f"a server's address is HOST:PORT, such as 127.0.0.1:8500; received '{self.address}'")

    def unavailable(self, reason: str) -> PredictionError:
        """Nothing listens at the address, or what listens takes no requests."""
        return PredictionError(
            f"no server answers at {self.address} ({reason}); start one with `crossdistil serve DIR/{self.model}`, "
            "or give the HOST:PORT of a running one (gRPC and REST have different ports)"
        )

    def too_late(self) -> PredictionError:
        """The server took longer than the timeout."""
        return PredictionError(
            f"{self.address} did not answer within {self.timeout:g} s; give a longer timeout, or see what keeps the server busy"
        )

    def not_found(self, reason: str) -> PredictionError:
        """The server does not serve the model."""
        return PredictionError(f"{self.address} does not serve the model '{self.model}': {reason}")

    def refused(self, reason: str) -> PredictionError:
        """The server found a fault with the request, or had one itself."""
        return PredictionError(f"{self.address} could not answer for the model '{self.model}': {reason}")

    def no_signature(self) -> PredictionError:
        """The model cannot be asked with raw features."""
        return PredictionError(
            f"the model '{self.model}' at {self.address} has no signature '{SIGNATURE}'; export it with `crossdistil export`"
        )


class Transport(Protocol):
    """A connection to a server that asks for one model's predictions. Every method raises PredictionError."""

    def signature(self) -> ModelSignature:
        """Asks what the model takes and gives."""

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Asks for one batch: inputs `[rows]` or `[rows, n]`, text as objects of type str; probabilities `[rows]` by task."""

    def close(self) -> None:
        """Ends the connection."""
