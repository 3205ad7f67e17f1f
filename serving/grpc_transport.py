"""The gRPC transport of the client."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from serving import messages
from serving.transports import SIGNATURE, Endpoint, ModelInput, ModelSignature, PredictionError

# Numbers of tensorflow.DataType.
DTYPES = {1: "DT_FLOAT", 2: "DT_DOUBLE", 3: "DT_INT32", 7: "DT_STRING", 9: "DT_INT64", 10: "DT_BOOL"}
FLOAT, STRING = 1, 7

FAILURES: dict[grpc.StatusCode, Callable[[Endpoint, str], PredictionError]] = {
    grpc.StatusCode.UNAVAILABLE: Endpoint.unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: lambda endpoint, _: endpoint.too_late(),
    grpc.StatusCode.NOT_FOUND: Endpoint.not_found,
}


class GrpcTransport:
    """Asks through PredictionService."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel = grpc.insecure_channel(endpoint.address)

    def signature(self) -> ModelSignature:
        """Asks GetModelMetadata. Raises: PredictionError."""
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._endpoint.model
        answer = self._call("GetModelMetadata", request)
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
            for name, info in signature.inputs.items()
        }
        return ModelSignature(inputs, tuple(sorted(signature.outputs)))

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Asks Predict. Raises: PredictionError."""
        request = messages.PredictRequest()
        request.model_spec.name = self._endpoint.model
        request.model_spec.signature_name = SIGNATURE
        for name, array in inputs.items():
            _write(array, request.inputs[name])
        answer = self._call("Predict", request)
        try:
            response = messages.PredictResponse.FromString(answer)
            return {name: _read(tensor) for name, tensor in response.outputs.items()}
        except (DecodeError, ValueError) as error:
            raise self._endpoint.refused("its predictions are not TF Serving's") from error

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _call(self, method: str, request: Any) -> bytes:
        # The answer stays bytes here: gRPC logs a traceback when a deserializer of its own fails.
        call = self._channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        try:
            return call(request.SerializeToString(), timeout=self._endpoint.timeout)
        except grpc.RpcError as error:
            failure = FAILURES.get(error.code(), Endpoint.refused)
            raise failure(self._endpoint, error.details() or error.code().name) from error


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
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, "<f4")
    return np.array(tensor.float_val, np.float32)
