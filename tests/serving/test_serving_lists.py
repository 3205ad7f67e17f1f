# SPDX-License-Identifier: Apache-2.0
"""Lists on their way from a user's rows through both transports to a model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from serving.client import Client, PredictionError
from serving.client.batches import BATCH_SIZE
from serving.client.file_predictions import predict_file
from serving.client.transports import ModelInput
from tests.serving.server_process import Server, end_server, start_server

TRANSPORTS = pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
ROWS: list[dict[str, Any]] = [
    {"tags": ["ab", "c"], "tags_weights": [2.0, 0.5]},
    {"tags": [], "tags_weights": []},
    {"tags": ["a", " ", "bcd", "ä"], "tags_weights": [1.0, 5.0, 0.0, 3.0]},
    {"tags": ["abc"], "tags_weights": None},
]
# The weighted number of bytes.
ANSWERS = [4.5, 0.0, 7.0, 3.0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model that adds up the weighted lengths of its texts; NaN weighs 1."""
    import tensorflow as tf

    directory = tmp_path_factory.mktemp("models") / "lengths"

    class Lengths(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None], tf.string, "tags"),
                tf.TensorSpec([None, None], tf.float32, "tags_weights"),
            ]
        )
        def total(self, tags: Any, tags_weights: Any) -> dict[str, Any]:
            width = tf.shape(tags)[1]
            weights = tags_weights[:, :width]
            weights = tf.pad(weights, [[0, 0], [0, width - tf.shape(weights)[1]]], constant_values=np.nan)
            weights = tf.where(tf.math.is_nan(weights), 1.0, weights)
            return {"total": tf.reduce_sum(weights * tf.cast(tf.strings.length(tags), tf.float32), axis=1)}

    module = Lengths()
    tf.saved_model.save(module, str(directory / "1"), {"serving_default": module.total})
    running = start_server(directory)
    yield running
    end_server(running)


def connect(server: Server, rest: bool) -> Client:
    return Client(server.rest_address if rest else server.grpc, model="lengths", rest=rest)


@TRANSPORTS
def test_the_signature_tells_lists(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        assert client.signature.inputs == {
            "tags": ModelInput("DT_STRING", is_list=True),
            "tags_weights": ModelInput("DT_FLOAT", is_list=True),
        }


@TRANSPORTS
def test_answers_of_lists(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        np.testing.assert_allclose(client.predict(ROWS)["total"], ANSWERS)
        columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
        np.testing.assert_allclose(client.predict(columns)["total"], ANSWERS)
        unweighted = client.predict([{"tags": row["tags"]} for row in ROWS])["total"]
        np.testing.assert_allclose(unweighted, [3.0, 0.0, 6.0, 3.0])
        assert client.predict([])["total"].shape == (0,)


@TRANSPORTS
def test_batches_of_different_widths_keep_their_order(server: Server, rest: bool) -> None:
    times = BATCH_SIZE // len(ROWS) + 1
    rows = ROWS * times + [{"tags": ["x"] * 500, "tags_weights": None}]
    with connect(server, rest) as client:
        np.testing.assert_allclose(client.predict(rows)["total"], ANSWERS * times + [500.0])


@TRANSPORTS
def test_files_that_hold_lists(server: Server, rest: bool, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        answers = predict_file(server.rest_address if rest else server.grpc, "lengths", tmp_path / name, rest)
        assert [answer["total"] for answer in answers] == pytest.approx(ANSWERS)


def test_text_files_hold_none(server: Server, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("tags,note\n,x\na|b,x\n", encoding="utf-8")
    with pytest.raises(PredictionError, match=r"'tags' must be a list of values; row 2 has the text 'a\|b'\. Give lists in a"):
        list(predict_file(server.grpc, "lengths", tmp_path / "rows.csv"))
    (tmp_path / "rows.csv").write_text("tags,tags_weights\n ,\n", encoding="utf-8")
    assert list(predict_file(server.grpc, "lengths", tmp_path / "rows.csv")) == [{"total": 0.0}]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            {"inputs": {"tags": [["a"], ["a", "b"]], "tags_weights": [[1], [1]]}},
            "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
        ),
        (
            {"instances": [{"tags": ["a", "b"], "tags_weights": [1]}, {"tags": [], "tags_weights": [1]}]},
            "Failed to process element: 1 key: tags of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 0",
        ),
        ({"inputs": {"tags": ["a"], "tags_weights": [[1]]}}, "input 'tags' must be DT_STRING [batch, any]; received \"a\""),
        ({"inputs": {"tags": 5, "tags_weights": [[1]]}}, "input 'tags' must be DT_STRING [batch, any]; received 5"),
    ],
)
def test_lists_of_different_lengths_are_refused_in_tf_servings_words(server: Server, body: Any, told: str) -> None:
    response = httpx.post(server.rest + ":predict", json=body)
    assert response.status_code == 400
    assert told in response.json()["error"]


def test_equally_long_lists_in_row_format(server: Server) -> None:
    instances = [{"tags": ["a", ""], "tags_weights": [3.0]}, {"tags": ["b", "cd"], "tags_weights": [1.0]}]
    response = httpx.post(server.rest + ":predict", json={"instances": instances})
    assert response.json() == {"predictions": [3.0, 3.0]}
