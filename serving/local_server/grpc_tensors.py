# SPDX-License-Identifier: Apache-2.0
"""The tensors of TF Serving's requests and responses, to and from arrays."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.local_server.signature import Signature, invalid

# A few bytes can claim a shape of any size, which would be filled in memory; no honest request comes near this.
MAX_VALUES = 1 << 22


def decode_tensors(tensors: Mapping[str, tensor_pb2.TensorProto], signature: Signature) -> dict[str, np.ndarray]:
    """The arrays of a request by input name.

    Raises:
        RequestError: inputs are unknown or missing, of another dtype, or their content does not fit their shape.
    """
    signature.check_names(tensors)
    values = 0
    for name, tensor in tensors.items():
        sizes = [dim.size for dim in tensor.tensor_shape.dim]
        if min(sizes, default=0) < 0:
            raise invalid(f"input '{name}' must have a shape of known sizes; received {sizes}")
        if tensor.dtype != types_pb2.DataType.Value(signature.inputs[name].dtype):
            names = types_pb2.DataType.DESCRIPTOR.values_by_number
            dtype = names[tensor.dtype].name if tensor.dtype in names else str(tensor.dtype)
            raise signature.mismatch(name, dtype, sizes)
        values += math.prod(sizes)
        if values > MAX_VALUES:
            raise invalid(f"a request may have at most {MAX_VALUES} values; input '{name}' has the shape {sizes}")
    return {name: _array(name, tensor) for name, tensor in tensors.items()}


def encode_tensors(response: predict_pb2.PredictResponse, outputs: Mapping[str, np.ndarray]) -> None:
    """Writes arrays into a response."""
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(array))


def _array(name: str, tensor: tensor_pb2.TensorProto) -> np.ndarray:
    try:
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid(f"input '{name}' is no valid tensor: {error}") from error
