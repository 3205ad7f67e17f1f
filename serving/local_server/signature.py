# SPDX-License-Identifier: Apache-2.0
"""A signature of a served model: what its inputs must be, and the error of a request that breaks it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tf_crossdistil.errors import CrossDistilError

# A request's rows, and the model's intermediate results for them, are in memory at once.
MAX_ROWS = 1 << 15
# gRPC carries errors in headers, which clients take only up to some kilobytes.
MAX_MESSAGE = 500


class RequestError(Exception):
    """A request that cannot be answered; `code` is what TF Serving's gRPC API returns for it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 3]}...")
        self.code = code


def invalid(message: str) -> RequestError:
    """The error of a request that the client must change."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def no_label(label: str) -> RequestError:
    """The error of a request for a version by label."""
    return invalid(f"Unrecognized servable version label: {label}; the local server has no labels, ask by version")


@dataclass(frozen=True)
class TensorSpec:
    """One input: the tensor to feed, its dtype (`DT_FLOAT`, ...) and its shape, where None may be any size."""

    tensor: str
    dtype: str
    numpy_dtype: np.dtype
    shape: tuple[int | None, ...]

    @classmethod
    def from_info(cls, name: str, info: meta_graph_pb2.TensorInfo) -> "TensorSpec":
        """Reads a SavedModel's description of the input `name`."""
        if info.tensor_shape.unknown_rank:
            raise CrossDistilError(f"input '{name}' has no known rank, so requests cannot be checked; export it with a shape")
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
        numpy_dtype = np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)
        return cls(info.name, types_pb2.DataType.Name(info.dtype), numpy_dtype, shape)

    def __str__(self) -> str:
        sizes = ["any" if size is None else str(size) for size in self.shape]
        if self.shape and self.shape[0] is None:
            sizes[0] = "batch"
        return f"{self.dtype} [{', '.join(sizes)}]"

    def accepts(self, array: np.ndarray) -> bool:
        """Whether an array has this dtype and shape."""
        return (
            array.dtype == self.numpy_dtype
            and array.ndim == len(self.shape)
            and all(size in (None, given) for size, given in zip(self.shape, array.shape, strict=True))
        )


class Signature:
    """The inputs and outputs of one way to call a model."""

    def __init__(self, name: str, definition: meta_graph_pb2.SignatureDef) -> None:
        """Raises: CrossDistilError: an input's rank is unknown."""
        self.name = name
        self.inputs = {key: TensorSpec.from_info(key, info) for key, info in sorted(definition.inputs.items())}
        self.outputs = {key: info.name for key, info in sorted(definition.outputs.items())}

    def check_names(self, names: Collection[str]) -> None:
        """Raises: RequestError: an input is unknown or missing."""
        for name in names:
            if name not in self.inputs:
                raise invalid(f"unknown input '{name}' for signature '{self.name}'; expected {self._listed(self.inputs)}")
        if missing := [name for name in self.inputs if name not in names]:
            raise invalid(
                f"missing input '{missing[0]}' for signature '{self.name}'; expected {self._listed(self.inputs)}, "
                f"received {self._listed(names)}"
            )

    def check_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raises: RequestError: names, a dtype or a shape are not the signature's, or batch sizes differ."""
        self.check_names(arrays)
        batch: tuple[str, int] | None = None
        for name, spec in self.inputs.items():
            array = arrays[name]
            if not spec.accepts(array):
                dtype = types_pb2.DataType.Name(tf.dtypes.as_dtype(array.dtype).as_datatype_enum)
                raise self.mismatch(name, dtype, array.shape)
            if not spec.shape or spec.shape[0] is not None:
                continue
            if batch is not None and batch[1] != len(array):
                raise invalid(
                    f"inputs of one request must have the same batch size: '{batch[0]}' has {batch[1]} rows, "
                    f"'{name}' has {len(array)}"
                )
            batch = (name, len(array))
        if batch is not None and batch[1] > MAX_ROWS:
            raise invalid(f"a request may have at most {MAX_ROWS} rows; received {batch[1]}, send fewer at a time")

    def mismatch(self, name: str, dtype: str, sizes: Sequence[int]) -> RequestError:
        """The error of an input that has another dtype or shape than the signature's."""
        return invalid(f"input '{name}' of signature '{self.name}' must be {self.inputs[name]}; received {dtype} {list(sizes)}")

    def select_outputs(self, names: Collection[str]) -> dict[str, str]:
        """The tensors of the outputs `names`, or of all outputs when there are none.

        Raises:
            RequestError: an output is unknown.
        """
        for name in names:
            if name not in self.outputs:
                raise invalid(f"unknown output '{name}' for signature '{self.name}'; expected {self._listed(self.outputs)}")
        return {name: tensor for name, tensor in self.outputs.items() if not names or name in names}

    @staticmethod
    def _listed(names: Collection[str]) -> str:
        return ", ".join(f"'{name}'" for name in sorted(names)) or "none"
