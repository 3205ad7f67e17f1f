# SPDX-License-Identifier: Apache-2.0
"""A tiny exported model with the signatures of a real export, and a local server that answers from it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.local_server.loading import load
from serving.local_server.model_store import ModelStore
from tests.serving.served_rows import right_answers
from tests.serving.server_process import Server, end_server, start_server


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`DIR/NAME` with versions 3 and 12 of a model with two tasks; only version 12 has a bias."""
    import tensorflow as tf

    directory = tmp_path_factory.mktemp("models") / "ranker"
    assets = tmp_path_factory.mktemp("assets") / "author.txt"
    assets.write_text("ann\nbob\n", encoding="utf-8")

    class Exported(tf.Module):
        def __init__(self, bias: float) -> None:
            super().__init__()
            self.vocabulary = tf.saved_model.Asset(str(assets))
            self.table = tf.lookup.StaticVocabularyTable(
                tf.lookup.TextFileInitializer(
                    self.vocabulary,
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                num_oov_buckets=1,
            )
            self.weights = tf.Variable([0.7, -0.4, 0.1])
            self.bias = tf.Variable(bias)

        def answer(self, author: Any, duration: Any) -> dict[str, Any]:
            known = tf.where(tf.math.is_nan(duration), 0.0, duration)
            logit = tf.gather(self.weights, self.table.lookup(author)) + 0.3 * known + self.bias
            return {"finish": tf.sigmoid(logit), "like": tf.sigmoid(-2.0 * logit)}

        @tf.function
        def raw(self, author: Any, duration: Any) -> dict[str, Any]:
            return self.answer(author, duration)

        @tf.function
        def parsed(self, examples: Any) -> dict[str, Any]:
            features = {
                "author": tf.io.FixedLenFeature([], tf.string),
                "duration": tf.io.FixedLenFeature([], tf.float32),
            }
            return self.answer(**tf.io.parse_example(examples, features))

    def column(name: str, dtype: Any) -> Any:
        return tf.TensorSpec([None], dtype, name)

    for version, bias in ((3, 0.0), (12, 0.5)):
        module = Exported(bias)
        signatures = {
            "serving_default": module.raw.get_concrete_function(column("author", tf.string), column("duration", tf.float32)),
            "predict_examples": module.parsed.get_concrete_function(column("examples", tf.string)),
        }
        tf.saved_model.save(module, str(directory / str(version)), signatures)
    return directory


@pytest.fixture(scope="session")
def expected(model: Path) -> dict[str, np.ndarray]:
    """The right answers for ROWS of the newest version."""
    return right_answers(model / "12")


@pytest.fixture(scope="session")
def server(model: Path) -> Iterator[Server]:
    """A server of the newest version."""
    running = start_server(model)
    yield running
    exit_code, _, errors = end_server(running)
    assert exit_code == 0
    assert "Traceback" not in errors


@pytest.fixture(scope="session")
def store(model: Path) -> Iterator[ModelStore]:
    """A store with the newest version, loaded in this process."""
    store = ModelStore(model.name)
    store.add(load(model / "12"))
    yield store
    store.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts servers as `start_server` does; a test that fails leaves none behind."""
    started: list[Server] = []

    def start_one(model: Path, *options: str) -> Server:
        started.append(start_server(model, *options))
        return started[-1]

    yield start_one
    for server in started:
        server.process.kill()
        server.process.wait()
