# SPDX-License-Identifier: Apache-2.0
"""Rows to encoded requests of bounded size, and their answers back to one result; pure, for every way of sending."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from serving.client.columns import to_model_columns, to_tensor, weights_of_lists
from serving.client.tables import Rows, Table, read_table
from serving.client.transports import Codec, Endpoint, ModelSignature
from tf_crossdistil.errors import UsageError

BATCH_SIZE = 1024


@dataclass(frozen=True)
class Batch:
    """An encoded request for some rows."""

    rows: int
    body: bytes


class Batches:
    """Writes the requests of one client and reads the answers.

    Args:
        endpoint: whom the client asks, for its errors.
        codec: how requests are written.
        size: how many rows a request has at most.

    Raises:
        UsageError: the size is less than 1.
    """

    def __init__(self, endpoint: Endpoint, codec: Codec, size: int = BATCH_SIZE) -> None:
        if size < 1:
            raise UsageError(f"a batch has at least 1 row; received {size}")
        self._endpoint = endpoint
        self._codec = codec
        self._size = size
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    def split(self, rows: Rows, signature: ModelSignature) -> Iterator[Batch]:
        """The requests that ask for rows, in order; all rows are checked before the first one.

        Raises:
            PredictionError: the rows do not fit the model.
        """
        table = read_table(rows, signature.inputs)
        columns = to_model_columns(table, signature.inputs)
        self._warn_of_absent(table, signature)
        for start in range(0, table.rows, self._size):
            part = slice(start, start + self._size)
            tensors = {name: to_tensor(column[part], signature.inputs[name]) for name, column in columns.items()}
            yield Batch(min(self._size, table.rows - start), self._codec.encode_predict(tensors))

    def read(self, answer: bytes, batch: Batch, signature: ModelSignature) -> dict[str, np.ndarray]:
        """The outputs `[rows]` by name in the answer to a batch, whatever they are.

        Raises:
            PredictionError: the answer is not TF Serving's, or does not fit the rows.
        """
        outputs = self._codec.decode_predict(answer)
        if len(signature.tasks) == 1 and "" in outputs:
            outputs = {signature.tasks[0]: outputs[""]}
        for task, received in outputs.items():
            if received.shape != (batch.rows,):
                raise self._endpoint.refused(
                    f"expected {batch.rows} answers for task '{task}', received shape {list(received.shape)}"
                )
        return outputs

    @staticmethod
    def are_of(parts: Sequence[dict[str, np.ndarray]], signature: ModelSignature) -> bool:
        """Whether answers have the signature's outputs, no more and no fewer; a newer version may have others."""
        return all(set(part) == set(signature.tasks) for part in parts)

    def join(self, parts: Sequence[dict[str, np.ndarray]], signature: ModelSignature) -> dict[str, np.ndarray]:
        """The answers to the batches of one call, in order, as one; what the signature does not have is left out.

        Raises:
            PredictionError: an answer lacks one of the signature's outputs.
        """
        for task in signature.tasks:
            if any(task not in part for part in parts):
                raise self._endpoint.refused(f"expected answers for task '{task}', received no such output")
        empty = np.empty(0, np.float32)
        return {task: np.concatenate([empty, *(part[task] for part in parts)]) for task in signature.tasks}

    def _warn_of_absent(self, table: Table, signature: ModelSignature) -> None:
        optional = weights_of_lists(signature.inputs)
        absent = {name for name in signature.inputs if table.rows and name not in table.columns and name not in optional}
        with self._lock:
            new = sorted(absent - self._warned)
            self._warned |= absent
        if new:
            warnings.warn(
                f"no row has {', '.join(new)}, which {self._endpoint.served} takes: a missing value in every row", stacklevel=5
            )
