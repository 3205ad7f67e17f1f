# SPDX-License-Identifier: Apache-2.0
"""Requests of every kind of nonsense: a client's mistake is told as one, and the server answers on."""

import base64
import http.client
import json
import string
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.local_server.model_store import ModelStore
from tests.serving.served_rows import BODY, PREDICT, faces, predict_request
from tests.serving.server_process import COLUMNS, ROWS

SHORT, LONG = 60, 2000
MISTAKES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def sized(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a property shortly by default and long when slow tests run."""

    def run(examples: int, **fixtures: Any) -> None:
        settings(
            max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
        )(test)(**fixtures)

    return run


LENGTHS = pytest.mark.parametrize("examples", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)], ids=["short", "long"])


@pytest.fixture(scope="module")
def addresses(store: ModelStore) -> Iterator[tuple[str, str]]:
    with faces(store) as made:
        yield made


@pytest.fixture(scope="module")
def rest(addresses: tuple[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{addresses[1]}", timeout=20) as client:
        yield client
        answer = client.post("/v1/models/ranker:predict", content=BODY)
        assert len(answer.json()["predictions"]) == len(ROWS)


@pytest.fixture(scope="module")
def predict(addresses: tuple[str, str]) -> Iterator[Callable[..., bytes]]:
    with grpc.insecure_channel(addresses[0]) as channel:
        yield channel.unary_unary(PREDICT)
        assert channel.unary_unary(PREDICT)(predict_request().SerializeToString(), timeout=20)


NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([1e308, -1e308, 10**400, 2**63, -0.0]), st.booleans())
# Half surrogates, NUL, and what is not in ASCII are all among the characters.
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["\ud800", "\x00", "ann", "日本"]))
NAMES = st.one_of(st.sampled_from(["author", "duration", "examples", "b64", "inputs", "instances", "signature_name"]), TEXTS)
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
SIGNATURES = st.one_of(st.sampled_from(["", "serving_default", "predict_examples"]), JSON)


@st.composite
def mutated_bodies(draw: st.DrawFn) -> Any:
    """A right body of either format with one to three places replaced, removed or doubled."""
    body: Any = draw(st.sampled_from([{"instances": ROWS}, {"inputs": COLUMNS}]))
    body = json.loads(json.dumps(body))
    for _ in range(draw(st.integers(1, 3))):
        place = body
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or draw(st.integers(0, 2)) == 0:
                change = draw(st.sampled_from(["replace", "remove", "double"]))
                if change == "replace":
                    place[key] = draw(JSON)
                elif change == "remove":
                    del place[key]
                elif isinstance(place, list):
                    place.append(place[key])
                else:
                    place[draw(NAMES)] = place[key]
                break
            place = place[key]
    if draw(st.booleans()):
        body["signature_name"] = draw(SIGNATURES)
    return body


def assert_answered_or_told(response: httpx.Response) -> None:
    assert response.status_code == 200 or 400 <= response.status_code < 500, response.text
    if response.status_code != 200:
        assert list(response.json()) == ["error"]


BODIES = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    mutated_bodies().map(lambda value: json.dumps(value).encode()),
    mutated_bodies().map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")),
    st.binary(max_size=60),
    st.tuples(st.integers(0, len(BODY)), st.binary(max_size=3)).map(lambda cut: BODY[: cut[0]] + cut[1] + BODY[cut[0] + 1 :]),
    st.tuples(st.sampled_from([b"[", b'{"inputs":', b'{"instances":[[']), st.integers(1, 20_000)).map(lambda x: x[0] * x[1]),
    st.integers(1, 9000).map(lambda digits: b'{"inputs": {"author": ["a"], "duration": [' + b"9" * digits + b"]}}"),
    st.binary(max_size=40).map(
        lambda value: json.dumps(
            {"signature_name": "predict_examples", "instances": [{"b64": base64.b64encode(value).decode()}]}
        ).encode()
    ),
)


@LENGTHS
def test_bodies(rest: httpx.Client, examples: int) -> None:
    @sized
    @given(body=BODIES)
    def check(body: bytes) -> None:
        assert_answered_or_told(rest.post("/v1/models/ranker:predict", content=body))

    check(examples)


PATHS = st.one_of(
    st.text(string.printable.strip() + "%é", max_size=30).map(lambda text: f"/{text}"),
    st.lists(
        st.one_of(
            st.sampled_from(
                ["/v1", "/models", "/ranker", "/versions/", "/labels/", "12", ":predict", "/metadata", "%", "%ff", "%00", "//"]
            ),
            st.integers(0, 10**30).map(str),
            st.integers(4300, 6000).map(lambda digits: "9" * digits),
        ),
        max_size=6,
    ).map(lambda parts: "/v1/models/ranker" + "".join(parts)),
)
HEADERS = st.dictionaries(
    st.one_of(
        st.sampled_from(["Content-Type", "Content-Length", "Transfer-Encoding", "Expect", "Connection", "Host", "Upgrade"]),
        st.text(string.ascii_letters + "-", min_size=1, max_size=10),
    ),
    st.one_of(
        st.sampled_from(["application/json; charset=utf-16", "chunked", "100-continue", "-1", "1e9", "websocket", "close"]),
        st.text(string.printable.strip() + "\xff", max_size=10),
    ),
    max_size=4,
)


@LENGTHS
def test_paths_methods_and_headers(addresses: tuple[str, str], rest: httpx.Client, examples: int) -> None:
    @sized
    @given(
        method=st.one_of(st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT"]), st.text("AZaz!~", min_size=1)),
        path=PATHS,
        headers=HEADERS,
        body=st.one_of(st.just(b""), st.just(BODY), st.binary(max_size=20)),
    )
    def check(method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection = http.client.HTTPConnection(addresses[1], timeout=20)
        connection.connect()
        connection.sock.sendall(head.encode("latin-1", "replace") + b"\r\n" + body)
        # Nothing more will come, whatever length was announced.
        connection.sock.shutdown(1)
        answer = http.client.HTTPResponse(connection.sock, method="HEAD")
        try:
            answer.begin()
        except (http.client.BadStatusLine, ConnectionResetError):
            return  # An answer is not owed to a request that was not sent to its end.
        finally:
            connection.close()
        assert answer.status == 200 or 400 <= answer.status < 502, answer.status
        assert answer.status != 500

    check(examples)


TENSORS = st.one_of(
    st.builds(
        tensor_pb2.TensorProto,
        dtype=st.one_of(st.sampled_from(sorted(types_pb2.DataType.values())), st.sampled_from([9999, -1])),
        tensor_content=st.one_of(st.just(b""), st.binary(max_size=40)),
        string_val=st.lists(st.binary(max_size=6), max_size=5),
        float_val=st.lists(st.floats(width=32), max_size=5),
        int_val=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        half_val=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        bool_val=st.lists(st.booleans(), max_size=3),
    ),
    st.lists(st.text(max_size=4), min_size=1, max_size=5).map(lambda texts: tf.make_tensor_proto(texts, tf.string)),
    st.lists(st.floats(width=32), min_size=1, max_size=5).map(lambda values: tf.make_tensor_proto(np.array(values, "f4"))),
)
SIZES = st.one_of(st.integers(0, 6), st.sampled_from([-1, 2**31, 2**62, 2**63 - 1, -(2**63), 1 << 22, 1 << 15]))


Request: TypeAlias = "predict_pb2.PredictRequest"


def change_tensor(draw: st.DrawFn, request: Request, name: str) -> None:
    request.inputs[name].CopyFrom(draw(TENSORS))
    change_sizes(draw, request, name)


def change_sizes(draw: st.DrawFn, request: Request, name: str) -> None:
    request.inputs[name].tensor_shape.Clear()
    for size in draw(st.lists(SIZES, max_size=3)):
        request.inputs[name].tensor_shape.dim.add(size=size)


def change_dtype(draw: st.DrawFn, request: Request, name: str) -> None:
    request.inputs[name].dtype = draw(st.sampled_from(sorted(types_pb2.DataType.values())))


def change_content(draw: st.DrawFn, request: Request, name: str) -> None:
    request.inputs[name].tensor_content = draw(st.binary(max_size=40))


def remove(_draw: st.DrawFn, request: Request, name: str) -> None:
    request.inputs.pop(name, None)


def change_model(draw: st.DrawFn, request: Request, _name: str) -> None:
    request.model_spec.signature_name = draw(st.sampled_from(["", "predict_examples", "serving_default", "é", "\x00"]))
    if draw(st.booleans()):
        request.model_spec.version.value = draw(st.integers(-(2**63), 2**63 - 1))


def filter_outputs(draw: st.DrawFn, request: Request, _name: str) -> None:
    request.output_filter.append(draw(st.sampled_from(["like", "finish", "", "\x00"])))


CHANGES = [change_tensor, change_sizes, change_dtype, change_content, remove, change_model, filter_outputs]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A right request with tensors, shapes, dtypes, names or the specification changed; sometimes cut off."""
    request = predict_request()
    for _ in range(draw(st.integers(1, 3))):
        draw(st.sampled_from(CHANGES))(draw, request, draw(st.sampled_from(["author", "author", "duration", "examples", "日"])))
    message = request.SerializeToString()
    if draw(st.integers(0, 5)) == 0:
        cut = draw(st.integers(0, len(message)))
        return message[:cut] + draw(st.binary(max_size=3)) + message[cut + 1 :]
    return message


@st.composite
def example_requests(draw: st.DrawFn) -> bytes:
    """Serialized examples, most of them none."""
    example = tf.train.Example()
    example.features.feature["author"].bytes_list.value.extend(draw(st.lists(st.binary(max_size=4), max_size=2)))
    example.features.feature["duration"].float_list.value.extend(draw(st.lists(st.floats(width=32), max_size=2)))
    right = example.SerializeToString()
    values = draw(st.lists(st.one_of(st.just(right), st.binary(max_size=20)), min_size=1, max_size=3))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ranker"
    request.model_spec.signature_name = "predict_examples"
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto(values, tf.string))
    return request.SerializeToString()


@LENGTHS
def test_messages(predict: Callable[..., bytes], examples: int) -> None:
    @sized
    @given(message=st.one_of(requests(), example_requests(), st.binary(max_size=60)))
    def check(message: bytes) -> None:
        try:
            predict_pb2.PredictResponse.FromString(predict(message, timeout=20))
        except grpc.RpcError as error:
            assert error.code() in MISTAKES, (error.code(), error.details())

    check(examples)
