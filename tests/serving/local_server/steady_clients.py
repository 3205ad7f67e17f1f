# SPDX-License-Identifier: Apache-2.0
"""Clients in threads that ask a server over and over, and check that each answer is wholly one version's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Thread

import grpc
import httpx
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tests.serving.served_rows import PREDICT, predict_request
from tests.serving.server_process import COLUMNS, Addresses

Answers = Mapping[str, np.ndarray]


@dataclass
class Client(Thread):
    """One connection that asks until it is told to end, or `requests` times, with a pause after each.

    `right` has each version's answers; `seen` becomes the versions that answered, in order and without repeats.
    """

    server: Addresses
    rest: bool
    right: Mapping[int, Answers]
    repeats: int = 1
    requests: int | None = None
    pause_seconds: float = 0.0
    ended: Event = field(default_factory=Event)
    seen: list[int] = field(default_factory=list)
    answered: int = 0
    fault: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = Thread.__hash__

    def run(self) -> None:
        try:
            if self.rest:
                self._ask_rest()
            else:
                self._ask_grpc()
        except BaseException as error:
            self.fault = error

    def _rounds(self) -> "range | count[int]":
        return count() if self.requests is None else range(self.requests)

    def _ask_rest(self) -> None:
        body = json.dumps({"inputs": {name: values * self.repeats for name, values in COLUMNS.items()}})
        with httpx.Client(timeout=60) as client:
            for _ in self._rounds():
                response = client.post(self.server.rest + ":predict", content=body)
                assert response.status_code == 200, response.text
                self._check({name: np.array(values) for name, values in response.json()["outputs"].items()})
                if self.ended.wait(self.pause_seconds):
                    return

    def _ask_grpc(self) -> None:
        message = predict_request(*(COLUMNS[name] * self.repeats for name in ("author", "duration"))).SerializeToString()
        with grpc.insecure_channel(self.server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            predict = channel.unary_unary(PREDICT, response_deserializer=predict_pb2.PredictResponse.FromString)
            for _ in self._rounds():
                response = predict(message, timeout=60)
                answers = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
                assert self._check(answers) == response.model_spec.version.value
                if self.ended.wait(self.pause_seconds):
                    return

    def _check(self, answers: Answers) -> int:
        """The version whose answers these are, all of them."""
        (version,) = [version for version, right in self.right.items() if self._equal(answers, right)]
        self.answered += 1
        if self.seen[-1:] != [version]:
            self.seen.append(version)
        return version

    def _equal(self, answers: Answers, right: Answers) -> bool:
        return set(answers) == set(right) and all(
            answers[name].shape == (self.repeats * len(values),)
            and np.abs(answers[name] - np.tile(values, self.repeats)).max() < 1e-6
            for name, values in right.items()
        )
