"""The client library: rows of raw features in, probabilities by task out, through gRPC or REST."""

from functools import cached_property
from types import TracebackType

import numpy as np
from typing_extensions import Self

from serving.columns import Rows, to_columns, to_tensor
from serving.grpc_transport import GrpcTransport
from serving.rest_transport import RestTransport
from serving.transports import Endpoint, ModelSignature, PredictionError, Transport

__all__ = ["Client", "PredictionError"]

BATCH_SIZE = 1024


class Client:
    """A connection to TF Serving, or to the local server, for one model; use it in a `with` statement.

    Args:
        address: HOST:PORT of the server's gRPC port, or of its REST port when `rest`.
        model: the name under which the server has the model.
        rest: whether to talk REST instead of gRPC.
        timeout: seconds that each request may take; large inputs are several requests of 1024 rows.

    Raises:
        UsageError: the address is not HOST:PORT.
    """

    def __init__(self, address: str, *, model: str, rest: bool = False, timeout: float = 10.0) -> None:
        endpoint = Endpoint(address, model, timeout)
        self._transport: Transport = RestTransport(endpoint) if rest else GrpcTransport(endpoint)
        self._endpoint = endpoint

    @cached_property
    def signature(self) -> ModelSignature:
        """What the model takes and gives; asked of the server once.

        Raises:
            PredictionError: the server is down, or does not serve the model.
        """
        return self._transport.signature()

    def predict(self, rows: Rows) -> dict[str, np.ndarray]:
        """Asks for the probabilities of rows.

        Args:
            rows: a list of rows, or the values of all rows by feature; numbers and booleans become the text of such values
                in logs where a model wants text. A multi_value feature has a list a row; its weights, `NAME_weights`, may
                be left out and are then 1.

        Returns:
            Probabilities by task, float32 `[rows]`.

        Raises:
            PredictionError: the rows do not fit the model, or the server cannot be asked.
        """
        inputs = self.signature.inputs
        columns = to_columns(rows, inputs)
        count = min((len(column) for column in columns.values()), default=0)
        answers: dict[str, list[np.ndarray]] = {task: [] for task in self.signature.tasks}
        for start in range(0, count, BATCH_SIZE):
            batch = {name: to_tensor(column[start : start + BATCH_SIZE], inputs[name]) for name, column in columns.items()}
            self._collect(answers, self._transport.predict(batch), min(BATCH_SIZE, count - start))
        return {task: np.concatenate([np.empty(0, np.float32), *parts]) for task, parts in answers.items()}

    def _collect(self, answers: dict[str, list[np.ndarray]], outputs: dict[str, np.ndarray], rows: int) -> None:
        for task, parts in answers.items():
            answer = outputs.get(task)
            if answer is None or answer.shape != (rows,):
                received = "no such output" if answer is None else f"shape {list(answer.shape)}"
                raise self._endpoint.refused(f"expected {rows} probabilities of task '{task}', received {received}")
            parts.append(answer)

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
