"""A tiny exported model with the signatures of a real export, and a local server that answers from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.server_process import ROWS, Server, end_server, start_server


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
    """The answers for ROWS of a version-1 session over the newest version, fed directly."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(model / "12"))
        signature = loaded.signature_def["serving_default"]
        fetches = {name: info.name for name, info in signature.outputs.items()}
        feeds = {signature.inputs[name].name: [row[name] for row in ROWS] for name in signature.inputs}
        answers: dict[str, np.ndarray] = session.run(fetches, feeds)
    return answers


@pytest.fixture(scope="session")
def server(model: Path) -> Iterator[Server]:
    """A server of the newest version."""
    running = start_server(model)
    yield running
    exit_code, _, errors = end_server(running)
    assert exit_code == 0
    assert "Traceback" not in errors
