# SPDX-License-Identifier: Apache-2.0
"""The part of TF Serving's gRPC messages that a client needs, as protobuf classes.

The classes of tensorflow-serving-api import all of TensorFlow: seconds of start-up and hundreds of megabytes in every
process that asks for a prediction. Messages are told apart on the wire by field numbers alone, so the few fields below,
with TF Serving's numbers, read and write the same bytes.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
PACKAGE = "tf_crossdistil.serving"

# Message -> (field, number, kind); a kind is a scalar type or another message, `[]` repeats it, `map:` maps text to it.
FIELDS: dict[str, list[tuple[str, int, str]]] = {
    "Dim": [("size", 1, "int64")],
    "TensorShapeProto": [("dim", 2, "Dim[]")],
    "TensorProto": [
        ("dtype", 1, "int32"),
        ("tensor_shape", 2, "TensorShapeProto"),
        ("tensor_content", 4, "bytes"),
        ("float_val", 5, "float[]"),
        ("string_val", 8, "bytes[]"),
    ],
    "TensorInfo": [("dtype", 2, "int32"), ("tensor_shape", 3, "TensorShapeProto")],
    "SignatureDef": [("inputs", 1, "map:TensorInfo"), ("outputs", 2, "map:TensorInfo")],
    "SignatureDefMap": [("signature_def", 1, "map:SignatureDef")],
    "Any": [("value", 2, "bytes")],
    "Int64Value": [("value", 1, "int64")],
    "ModelSpec": [
        ("name", 1, "string"),
        ("version", 2, "Int64Value"),
        ("signature_name", 3, "string"),
        ("version_label", 4, "string"),
    ],
    "PredictRequest": [("model_spec", 1, "ModelSpec"), ("inputs", 2, "map:TensorProto")],
    "PredictResponse": [("outputs", 1, "map:TensorProto")],
    "GetModelMetadataRequest": [("model_spec", 1, "ModelSpec"), ("metadata_field", 2, "string[]")],
    "GetModelMetadataResponse": [("metadata", 2, "map:Any")],
}
SCALARS = {
    "bytes": Field.TYPE_BYTES,
    "float": Field.TYPE_FLOAT,
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "string": Field.TYPE_STRING,
}


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    repeated = kind.endswith("[]")
    kind = kind.removesuffix("[]")
    if kind.startswith("map:"):
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, kind.removeprefix("map:"))
        repeated, kind = True, f"{message.name}.{entry.name}"
    field = message.field.add(name=name, number=number)
    field.label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
    if kind in SCALARS:
        field.type = SCALARS[kind]
    else:
        field.type = Field.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="tf_crossdistil/serving.proto", package=PACKAGE, syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, *field)
    return message_factory.GetMessageClassesForFiles([file.name], _pool(file))


def _pool(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pool.DescriptorPool:
    # A pool of its own, so that nothing here meets TensorFlow's descriptors where both are loaded.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_CLASSES = _build()
TensorProto = _CLASSES[f"{PACKAGE}.TensorProto"]
SignatureDefMap = _CLASSES[f"{PACKAGE}.SignatureDefMap"]
PredictRequest = _CLASSES[f"{PACKAGE}.PredictRequest"]
PredictResponse = _CLASSES[f"{PACKAGE}.PredictResponse"]
GetModelMetadataRequest = _CLASSES[f"{PACKAGE}.GetModelMetadataRequest"]
GetModelMetadataResponse = _CLASSES[f"{PACKAGE}.GetModelMetadataResponse"]
