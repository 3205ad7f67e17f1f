# SPDX-License-Identifier: Apache-2.0
"""Servers in threads that misbehave, and scripted ones that answer as TF Serving does."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from serving.client import messages

Talk = Callable[[socket.socket], None]


@contextmanager
def listening(talk: Talk, port: int = 0) -> Iterator[str]:
    """The address of a server that does `talk` with each connection, which then stays open."""
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def talk_to(connection: socket.socket) -> None:
        with suppress(OSError):
            talk(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threads.append(threading.Thread(target=talk_to, args=[connection]))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", port)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            for thread in threads:
                thread.join()


def silent(connection: socket.socket) -> None:
    """Says nothing."""


def resetting(connection: socket.socket) -> None:
    """Resets the connection when a request comes."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closing(connection: socket.socket) -> None:
    """Ends the connection when a request comes."""
    connection.recv(65536)
    connection.close()


def saying(content: bytes, pause: float = 0.0, then: Talk = silent) -> Talk:
    """Answers the first bytes of a request with `content`; with a pause, byte by byte."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        if not pause:
            connection.sendall(content)
        for byte in content if pause else b"":
            connection.sendall(bytes([byte]))
            time.sleep(pause)
        then(connection)

    return talk


def endless(start: bytes) -> Talk:
    """Answers with `start` and then with more bytes than any memory holds."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(start)
        while True:
            connection.sendall(b" " * 65536)

    return talk


def http(body: bytes, status: int = 200, content_type: str = "application/json") -> bytes:
    """An HTTP answer."""
    return f"HTTP/1.1 {status} Because\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Scripted:
    """What a scripted server has seen: how many connections, and which requests for predictions."""

    address: str = ""
    connections: int = 0
    predicts: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most_at_once: int = 0
    running: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    # What the model gives, each output the feature; a test may change it while the server runs.
    outputs: tuple[str, ...] = ("task",)
    metadata_requests: int = 0

    def reply(self, replies: Sequence[Any], request: Any, pause: float) -> Any:
        """The next reply to a request for predictions; the last one is for all that follow."""
        with self.lock:
            self.predicts.append(request)
            reply = replies[min(len(self.predicts), len(replies)) - 1]
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
        time.sleep(pause)
        with self.lock:
            self.running -= 1
        return reply


RIGHT = "right"


def rest_metadata(outputs: Sequence[str]) -> dict[str, Any]:
    """The description of a model with one feature, `x`, and these outputs."""
    signature = {
        "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}},
        "outputs": {name: {"dtype": "DT_FLOAT"} for name in outputs},
    }
    return {"metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}


@contextmanager
def scripted_rest(*replies: Any, pause: float = 0.0, port: int = 0) -> Iterator[Scripted]:
    """A REST server whose answers to requests for predictions are `replies`, each whole HTTP answers or RIGHT."""
    seen = Scripted()

    def answer(head: str, body: bytes) -> bytes:
        seen.paths.append(head.split()[1])
        if head.startswith("GET"):
            seen.metadata_requests += 1
            return http(json.dumps(rest_metadata(seen.outputs)).encode())
        request = json.loads(body)
        reply = seen.reply(replies, request, pause)
        if reply != RIGHT:
            return bytes(reply)
        values = request["inputs"]["x"]
        # As TF Serving does, a single output is sent without its name.
        outputs = values if len(seen.outputs) == 1 else dict.fromkeys(seen.outputs, values)
        return http(json.dumps({"outputs": outputs}).encode())

    def talk(connection: socket.socket) -> None:
        seen.connections += 1
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                part = connection.recv(65536)
                if not part:
                    return
                received += part
            head, _, received = received.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            length = int(lengths[0].partition(b":")[2]) if lengths else 0
            while len(received) < length:
                received += connection.recv(65536)
            body, received = received[:length], received[length:]
            connection.sendall(answer(head.decode(), body))

    with listening(talk, port) as seen.address:
        yield seen


@contextmanager
def scripted_grpc(*replies: Any, pause: float = 0.0, port: int = 0) -> Iterator[Scripted]:
    """A gRPC server whose answers to Predict are `replies`, each bytes, a status code or RIGHT."""
    seen = Scripted()

    def metadata(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.connections += 1
        signatures = messages.SignatureDefMap()
        signature = signatures.signature_def["serving_default"]
        signature.inputs["x"].dtype = 1
        signature.inputs["x"].tensor_shape.dim.add(size=-1)
        for name in seen.outputs:
            signature.outputs[name].dtype = 1
        seen.metadata_requests += 1
        response = messages.GetModelMetadataResponse()
        response.metadata["signature_def"].value = signatures.SerializeToString()
        return bytes(response.SerializeToString())

    def predict(request: bytes, context: grpc.ServicerContext) -> bytes:
        parsed = messages.PredictRequest.FromString(request)
        reply = seen.reply(replies, parsed, pause)
        if reply == RIGHT:
            return grpc_answer(np.frombuffer(parsed.inputs["x"].tensor_content, "<f4"), names=seen.outputs)
        if isinstance(reply, grpc.StatusCode):
            context.abort(reply, f"this is {reply.name}")
        return bytes(reply)

    handlers = {
        "GetModelMetadata": grpc.unary_unary_rpc_method_handler(metadata),
        "Predict": grpc.unary_unary_rpc_method_handler(predict),
    }
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)])
    seen.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield seen
    finally:
        server.stop(None).wait()


def grpc_answer(
    values: np.ndarray, sizes: Sequence[int] | None = None, dtype: int = 1, names: Sequence[str] = ("task",)
) -> bytes:
    """A PredictResponse whose outputs each have these values, and this shape."""
    response = messages.PredictResponse()
    for name in names:
        tensor = response.outputs[name]
        tensor.dtype = dtype
        for size in values.shape if sizes is None else sizes:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = values.astype("<f4").tobytes()
    return bytes(response.SerializeToString())


SCRIPTED = {False: scripted_grpc, True: scripted_rest}
