# SPDX-License-Identifier: Apache-2.0
"""TF Serving's gRPC messages: requests to bytes, and bytes to answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from serving.client import messages
from serving.client.transports import SIGNATURE, Endpoint, ModelInput, ModelSignature

# Numbers of tensorflow.DataType.
DTYPES = {1: "DT_FLOAT", 2: "DT_DOUBLE", 3: "DT_INT32", 7: "DT_STRING", 9: "DT_INT64", 10: "DT_BOOL"}
FLOAT, STRING = 1, 7


class GrpcCodec:
    """Writes and reads the messages of PredictionService."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def encode_metadata(self) -> bytes:
        """A GetModelMetadataRequest."""
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._specify(request.model_spec)
        return bytes(request.SerializeToString())

    def decode_signature(self, answer: bytes) -> ModelSignature:
        """Reads a GetModelMetadataResponse. Raises: PredictionError."""
        try:
            response = messages.GetModelMetadataResponse.FromString(answer)
            signatures = messages.SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
        except DecodeError as error:
            raise self._endpoint.refused("its metadata is not TF Serving's") from error
        if SIGNATURE not in signatures:
            raise self._endpoint.no_signature()
        signature = signatures[SIGNATURE]
        inputs = {
            name: ModelInput(DTYPES.get(info.dtype, f"dtype {info.dtype}"), len(info.tensor_shape.dim) > 1)
            for name, info in sorted(signature.inputs.items())
        }
        return ModelSignature(inputs, tuple(sorted(signature.outputs)))

    def encode_predict(self, inputs: Mapping[str, np.ndarray]) -> bytes:
        """A PredictRequest."""
        request = messages.PredictRequest()
        self._specify(request.model_spec)
        request.model_spec.signature_name = SIGNATURE
        for name, array in inputs.items():
            _write(array, request.inputs[name])
        return bytes(request.SerializeToString())

    def decode_predict(self, answer: bytes) -> dict[str, np.ndarray]:
        """Reads a PredictResponse. Raises: PredictionError."""
        try:
            response = messages.PredictResponse.FromString(answer)
            return {name: _read(tensor) for name, tensor in response.outputs.items()}
        except (DecodeError, ValueError) as error:
            raise self._endpoint.refused("its predictions are not TF Serving's") from error

    def _specify(self, spec: Any) -> None:
        spec.name = self._endpoint.model
        if self._endpoint.version is not None:
            spec.version.value = self._endpoint.version
        if self._endpoint.label is not None:
            spec.version_label = self._endpoint.label


def _write(array: np.ndarray, tensor: Any) -> None:
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == np.float32:
        tensor.dtype = FLOAT
        tensor.tensor_content = array.astype("<f4", copy=False).tobytes()
    else:
        tensor.dtype = STRING
        tensor.string_val.extend(value.encode() for value in array.flat)


def _read(tensor: Any) -> np.ndarray:
    if tensor.dtype != FLOAT:
        raise ValueError
    values = np.frombuffer(tensor.tensor_content, "<f4") if tensor.tensor_content else np.array(tensor.float_val, np.float32)
    return values.reshape([max(dim.size, 0) for dim in tensor.tensor_shape.dim])
