# SPDX-License-Identifier: Apache-2.0
"""One SavedModel in a version-1 session with one thread, as a model server holds it; it is asked for by turns.

python -m benchmarks.serving_session MODEL REQUESTS

Imports nothing of ours, since peers have environments of their own.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_SIGNATURE = "serving_default"
_WARM_UP_CALLS = 20


class Session:
    """The session of a SavedModel, with requests to send it.

    Args:
        model: the SavedModel.
        requests: an npz file with the inputs of some rows by name, `[rows]` each; those that the model does not have are left
            out. Calls go round the rows.

    Attributes:
        load_seconds: what loading the model took.
    """

    def __init__(self, model: Path, requests: Path):
        self._session = tf.compat.v1.Session(
            graph=tf.Graph(),
            config=tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1),
        )
        with self._session.graph.as_default():
            start = time.perf_counter()
            loaded = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(model))
            self.load_seconds = time.perf_counter() - start
        signature = loaded.signature_def[_SIGNATURE]
        self._outputs = {name: output.name for name, output in signature.outputs.items()}
        with np.load(requests) as columns:
            self._inputs = {tensor.name: _as_input(columns[name], tensor) for name, tensor in signature.inputs.items()}
        self._next = 0

    def time(self, batch: int, calls: int) -> dict[str, Any]:
        """Calls with batches of a size: the `seconds` of each, and the CPU seconds of all threads and calls together."""
        requests = [self._request(batch) for _ in range(calls)]
        seconds = []
        cpu_start = time.process_time()
        for request in requests:
            start = time.perf_counter()
            self._session.run(self._outputs, request)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds, "cpu_seconds": time.process_time() - cpu_start}

    def answers(self, batch: int) -> dict[str, list[float]]:
        """What the model says about the first rows, by output."""
        found = self._session.run(self._outputs, self._rows(0, batch))
        return {name: values.reshape(-1).tolist() for name, values in found.items()}

    def _request(self, batch: int) -> dict[str, NDArray[Any]]:
        rows = len(next(iter(self._inputs.values())))
        first = self._next if self._next + batch <= rows else 0
        self._next = first + batch
        return self._rows(first, batch)

    def _rows(self, first: int, batch: int) -> dict[str, NDArray[Any]]:
        return {name: values[first : first + batch] for name, values in self._inputs.items()}


def _as_input(values: NDArray[Any], tensor: Any) -> NDArray[Any]:
    """A column `[rows]` in the type and the rank that a signature's input has."""
    column = values.astype(tf.as_dtype(tensor.dtype).as_numpy_dtype)
    return column.reshape(-1, *[1] * (len(tensor.tensor_shape.dim) - 1))


def serve(session: Session, questions: Iterable[str]) -> None:
    """Answers each line: `load`, `answers BATCH`, `warm_up BATCH` and `time BATCH CALLS`."""
    kinds: dict[str, Callable[..., Any]] = {
        "load": lambda: session.load_seconds,
        "answers": session.answers,
        "warm_up": lambda batch: session.time(batch, _WARM_UP_CALLS),
        "time": session.time,
    }
    for question in questions:
        kind, *numbers = question.split()
        print("answer", json.dumps(kinds[kind](*map(int, numbers))), flush=True)


def main() -> None:
    """Serves turns until the input ends."""
    parser = argparse.ArgumentParser(description="Calls of a SavedModel by turns.")
    parser.add_argument("model", type=Path)
    parser.add_argument("requests", type=Path)
    arguments = parser.parse_args()
    serve(Session(arguments.model, arguments.requests), sys.stdin)


if __name__ == "__main__":
    main()
