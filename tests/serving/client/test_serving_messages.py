# SPDX-License-Identifier: Apache-2.0
"""The client's own message classes have TF Serving's field numbers and types."""

from typing import Any

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2

from serving.client import messages
from serving.client.grpc_codec import DTYPES

OFFICIAL: dict[str, Any] = {
    "Any": any_pb2.Any,
    "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "Int64Value": wrappers_pb2.Int64Value,
    "ModelSpec": model_pb2.ModelSpec,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "TensorInfo": meta_graph_pb2.TensorInfo,
    "TensorProto": tensor_pb2.TensorProto,
    "TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
}


def type_of(field: FieldDescriptor) -> str | int:
    """A message's name, or a scalar's number; on the wire an enumeration is an int32."""
    if field.message_type is not None:
        return field.message_type.name
    number = field.type
    return FieldDescriptor.TYPE_INT32 if number == FieldDescriptor.TYPE_ENUM else number


def assert_same_wire(own: Descriptor, official: Descriptor) -> None:
    for field in own.fields:
        theirs = official.fields_by_name[field.name]
        assert (field.number, field.is_repeated, type_of(field)) == (theirs.number, theirs.is_repeated, type_of(theirs))
        own_entry, their_entry = field.message_type, theirs.message_type
        if own_entry is not None and their_entry is not None and own_entry.GetOptions().map_entry:
            assert_same_wire(own_entry, their_entry)


@pytest.mark.parametrize("name", messages.FIELDS)
def test_fields_are_tf_servings(name: str) -> None:
    own = messages.PredictRequest.DESCRIPTOR.file.message_types_by_name[name]
    assert len(own.fields) == len(messages.FIELDS[name])
    assert_same_wire(own, OFFICIAL[name].DESCRIPTOR)


def test_dtypes_are_tensorflows() -> None:
    from tensorflow.core.framework import types_pb2

    assert {number: types_pb2.DataType.Name(number) for number in DTYPES} == DTYPES
