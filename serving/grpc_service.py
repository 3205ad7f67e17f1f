"""TF Serving's gRPC API: Predict and GetModelMetadata of PredictionService, GetModelStatus of ModelService."""

import math
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from serving.model_store import ModelStore
from serving.signature import RequestError, invalid

# A few bytes can claim a shape of any size, which would be filled in memory; no honest request comes near this.
MAX_ELEMENTS = 1 << 24


class GrpcService:
    """Answers gRPC requests from a model store."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store

    def add_to(self, server: grpc.Server) -> None:
        """Registers the methods; every other method of the API answers UNIMPLEMENTED."""
        services = {
            "tensorflow.serving.PredictionService": {
                "Predict": _handler(self._predict, predict_pb2.PredictRequest),
                "GetModelMetadata": _handler(self._metadata, get_model_metadata_pb2.GetModelMetadataRequest),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": _handler(self._status, get_model_status_pb2.GetModelStatusRequest),
            },
        }
        handlers = [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
        server.add_generic_rpc_handlers(handlers)

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        servable = self._store.servable(request.model_spec.name, _version(request.model_spec))
        signature = servable.signature(request.model_spec.signature_name)
        inputs = {name: _array(name, tensor) for name, tensor in request.inputs.items()}
        outputs = servable.predict(signature, inputs, request.output_filter)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = servable.version
        response.model_spec.signature_name = signature.name
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return response

    def _metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        if list(request.metadata_field) != ["signature_def"]:
            received = ", ".join(request.metadata_field) or "none"
            raise invalid(f"metadata_field must be signature_def, the only metadata there is; received {received}")
        return self._store.metadata(request.model_spec.name, _version(request.model_spec))

    def _status(self, request: get_model_status_pb2.GetModelStatusRequest) -> get_model_status_pb2.GetModelStatusResponse:
        return self._store.status(request.model_spec.name, _version(request.model_spec))


def _handler(method: Callable[[Any], Any], request_type: Any) -> grpc.RpcMethodHandler:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(request)
        except RequestError as error:
            return context.abort(error.code, str(error))

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request_type.FromString, response_serializer=lambda response: response.SerializeToString()
    )


def _version(spec: model_pb2.ModelSpec) -> int | None:
    if spec.version_label:
        raise RequestError(
            grpc.StatusCode.NOT_FOUND,
            f"Unrecognized servable version label: {spec.version_label}; the local server has no labels, ask by version",
        )
    return spec.version.value if spec.HasField("version") else None


def _array(name: str, tensor: tensor_pb2.TensorProto) -> np.ndarray:
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_ELEMENTS:
        raise invalid(f"input '{name}' must have a shape of at most {MAX_ELEMENTS} values; received {sizes}")
    try:
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise invalid(f"input '{name}' is no valid tensor: {error}") from error
