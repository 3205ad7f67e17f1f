# SPDX-License-Identifier: Apache-2.0
"""The bodies of TF Serving's REST predict requests: JSON in row or column format to arrays, and arrays back."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.local_server.signature import RequestError, Signature, TensorSpec, invalid


@dataclass(frozen=True)
class PredictBody:
    """A request: a list of `instances` when `by_row`, else the columns that TF Serving calls `inputs`."""

    signature_name: str
    by_row: bool
    content: Any


def parse_body(body: bytes | bytearray) -> PredictBody:
    """Reads a request's JSON.

    Raises:
        RequestError: it is no JSON, or does not have one of `instances` and `inputs`.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid(f"the body must be a JSON object with 'instances' or 'inputs'; received {_kind(request)}")
    signature_name = request.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise invalid(f"'signature_name' must be a string; received {_kind(signature_name)}")
    formats = [key for key in ("instances", "inputs") if key in request]
    if len(formats) != 1:
        raise invalid(f"the body must have either 'instances' (rows) or 'inputs' (columns); received {formats or 'neither'}")
    content = request[formats[0]]
    if formats == ["instances"] and not (isinstance(content, list) and content):
        raise invalid(f"'instances' must be a list of at least one row; received {_kind(content)}")
    return PredictBody(signature_name, formats == ["instances"], content)


def decode_inputs(body: PredictBody, signature: Signature) -> dict[str, np.ndarray]:
    """The arrays of a request by input name.

    Raises:
        RequestError: inputs are unknown or missing, or values are not of their input's dtype and rank.
    """
    columns = _columns_of_rows(body.content, signature) if body.by_row else _columns(body.content, signature)
    signature.check_names(columns)
    for name, spec in signature.inputs.items():
        if len(spec.shape) > 1:
            _check_equally_long(name, columns[name], body.by_row)
    return {name: _array(name, columns[name], spec) for name, spec in signature.inputs.items()}


def encode_outputs(body: PredictBody, outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The response in the request's format; a single output stands without its name, as in TF Serving."""
    columns = {name: _plain(name, array) for name, array in outputs.items()}
    single = next(iter(columns.values())) if len(columns) == 1 else None
    if not body.by_row:
        return {"outputs": columns if single is None else single}
    if single is not None:
        return {"predictions": single}
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def _plain(output: str, array: np.ndarray) -> Any:
    """An output's values as JSON has them: bytes as text, or in base64 where the output's name ends so, as in TF Serving."""
    if array.dtype != object:
        return array.tolist()
    if output.endswith("_bytes"):
        return np.vectorize(lambda value: {"b64": base64.b64encode(value).decode()}, otypes=[object])(array).tolist()
    return np.vectorize(lambda value: value.decode(errors="replace"), otypes=[object])(array).tolist()


def _columns(content: Any, signature: Signature) -> dict[str, Any]:
    if isinstance(content, dict) and not _is_base64(content):
        return content
    return {_only_input(signature, content): content}


def _columns_of_rows(rows: list[Any], signature: Signature) -> dict[str, list[Any]]:
    if not isinstance(rows[0], dict) or _is_base64(rows[0]):
        return {_only_input(signature, rows[0]): rows}
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"every instance must be an object, as the first one is; instance {index} is {_kind(row)}")
        try:
            signature.check_names(row)
        except RequestError as error:
            raise invalid(f"instance {index}: {error}") from error
    return {name: [row[name] for row in rows] for name in signature.inputs}


def _only_input(signature: Signature, received: Any) -> str:
    if len(signature.inputs) != 1:
        names = ", ".join(f"'{name}'" for name in sorted(signature.inputs))
        raise invalid(f"signature '{signature.name}' takes inputs by name: {names}; received {_kind(received)}")
    return next(iter(signature.inputs))


def _check_equally_long(name: str, column: Any, by_row: bool) -> None:
    """Refuses rows whose lists differ in length, in TF Serving's words: a client has to pad them."""
    lists = [value for value in column if isinstance(value, list)] if isinstance(column, list) else []
    for index, values in enumerate(lists):
        size, expected = len(values), len(lists[0])
        if size != expected and by_row:
            raise invalid(
                f"Failed to process element: {index} key: {name} of 'instances' list. Error: INVALID_ARGUMENT: "
                f"Expecting tensor size: {expected} but got: {size}"
            )
        if size != expected:
            raise invalid(f"Encountered list at unexpected size: {size} at level: 1 expected size: {expected}")


def _array(name: str, column: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype not in _LEAVES:
        raise invalid(f"input '{name}' is {spec.dtype}, which JSON cannot carry; use gRPC")
    leaf = _LEAVES[spec.dtype]

    def convert(value: Any, depth: int) -> Any:
        if isinstance(value, list) != (depth > 0):
            raise invalid(f"input '{name}' must be {spec}; received {_kind(value)} {len(spec.shape) - depth} levels deep")
        if depth:
            return [convert(item, depth - 1) for item in value]
        try:
            return leaf(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise invalid(f"input '{name}' must be {spec}; received {_kind(value)}") from error

    nested = convert(column, len(spec.shape))
    try:
        # A number beyond float32 is infinite, as in TF Serving, and nothing to warn the server's log of.
        with np.errstate(over="ignore"):
            return np.array(nested, spec.numpy_dtype)
    except (ValueError, OverflowError) as error:
        raise invalid(f"input '{name}' must be {spec}; received values that do not fit: {error}") from error


def _text(value: Any) -> bytes:
    if _is_base64(value):
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, str):
        return value.encode()
    raise TypeError


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


_LEAVES: dict[str, Callable[[Any], Any]] = {
    "DT_STRING": _text,
    "DT_FLOAT": _number,
    "DT_DOUBLE": _number,
    "DT_INT32": _integer,
    "DT_INT64": _integer,
}


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"]


def _kind(value: Any) -> str:
    """How an error names a JSON value: its kind, with the value itself where it is short."""
    names = {dict: "an object", list: "a list", type(None): "null"}
    text = json.dumps(value) if not isinstance(value, dict | list) else ""
    return names.get(type(value), text if len(text) <= 40 else f"{text[:40]}...")
