# SPDX-License-Identifier: Apache-2.0
"""TF Serving's gRPC API: Predict and GetModelMetadata of PredictionService, GetModelStatus of ModelService."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from serving.local_server.budget import Budget
from serving.local_server.grpc_tensors import decode_tensors, encode_tensors
from serving.local_server.message_reader import MessageReader
from serving.local_server.model_store import ModelStore
from serving.local_server.signature import RequestError, invalid, no_label
from serving.local_server.workers import Workers


class GrpcService:
    """Answers gRPC requests from a model store."""

    def __init__(self, store: ModelStore, workers: Workers, budget: Budget) -> None:
        self._store = store
        self._workers = workers
        self._budget = budget
        self._reader = MessageReader()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the methods; every other method of the API answers UNIMPLEMENTED."""
        services = {
            "tensorflow.serving.PredictionService": {
                "Predict": self._handler(self._predict, predict_pb2.PredictRequest),
                "GetModelMetadata": self._handler(self._metadata, get_model_metadata_pb2.GetModelMetadataRequest),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": self._handler(self._status, get_model_status_pb2.GetModelStatusRequest),
            },
        }
        handlers = [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
        server.add_generic_rpc_handlers(handlers)

    def _handler(self, method: Callable[[Any], Message], request_type: Any) -> grpc.RpcMethodHandler:
        def answer_message(message: bytes) -> bytes:
            try:
                request = request_type.FromString(message)
            except DecodeError as error:
                raise invalid(f"the message is no {request_type.DESCRIPTOR.name}: {error}") from error
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return method(request).SerializeToString()

        async def answer(_messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
            try:
                message = await self._reader.read(context)
                with self._budget.hold() as hold:
                    hold.grow_to(len(message))
                    return await self._workers.run(len(message), answer_message, message)
            except RequestError as error:
                message, refusal = b"", error.with_traceback(None)
            # Not in the clause above, whose error would hold the message in memory for longer.
            return await context.abort(refusal.code, str(refusal))

        # On the wire a stream of one message is the same as no stream; only that way the waiting for it can be bounded.
        return grpc.stream_unary_rpc_method_handler(answer)

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        response = predict_pb2.PredictResponse()
        with self._store.use(request.model_spec.name, _version(request.model_spec)) as servable:
            signature = servable.signature(request.model_spec.signature_name)
            outputs = servable.predict(signature, decode_tensors(request.inputs, signature), request.output_filter)
            response.model_spec.version.value = servable.version
        response.model_spec.name = request.model_spec.name
        response.model_spec.signature_name = signature.name
        encode_tensors(response, outputs)
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


def _version(spec: model_pb2.ModelSpec) -> int | None:
    if spec.version_label:
        raise no_label(spec.version_label)
    return spec.version.value if spec.HasField("version") else None
