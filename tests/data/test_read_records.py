# SPDX-License-Identifier: Apache-2.0
"""Records of a prepared data set with missing labels and weights, read back as columns."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipelines.preprocess import prepare
from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.data.loaded_split import bytes_in_memory, load_split, loaded_batches
from tf_crossdistil.data.records import column_signature, concat_rows, feature_columns, label_matrix, split_batches
from tf_crossdistil.schema import PreparedData

# Every row's number, click, buy (given click), weight and true probability of a click.
ROWS = [(n, n % 2, "" if n % 2 == 0 else n // 2 % 2, (0.25 * (n % 5)), 0.01 * (n % 100)) for n in range(200)]

# Its ids need more than 32 bits.
IDS = {"name": "id", "column": "row", "kind": "hashed", "buckets": 1 << 40}


@pytest.fixture(scope="module")
def clicks() -> Experiment:
    content = {
        "name": "clicks",
        "tasks": [
            {"name": "click", "column": "click", "truth": "p"},
            {"name": "buy", "column": "buy", "given": "click"},
            {"name": "rated", "column": "rated", "optional": True},
        ],
        "features": [
            {"name": "row", "kind": "numeric"},
            {"name": "words", "kind": "multi_value", "weights": "strengths", "max_length": 3},
            IDS,
        ],
        "split": {"by": "hash", "key": ["row"]},
        "sample_weight": "importance",
    }
    return parse_config(content, "test")


@pytest.fixture(scope="module")
def data(clicks: Experiment, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder: Path = tmp_path_factory.mktemp("clicks")
    lines = [f"{n},a|b,1|2,{click},{buy},{['', 0, 1][n % 3]},{weight},{p}" for n, click, buy, weight, p in ROWS]
    header = "row,words,strengths,click,buy,rated,importance,p"
    (folder / "logs.csv").write_text("\n".join([header, *lines]))
    return prepare(clicks, [f"{folder}/logs.csv"], folder / "prepared", quiet=True)


def test_labels_weights_and_truth_come_back(clicks: Experiment, data: PreparedData) -> None:
    batches = [columns for split in ("train", "validation", "test") for columns in split_batches(data, clicks, split, 32)]
    columns = concat_rows(batches)
    rows = columns["row"].numpy().astype(int)
    assert sorted(rows) == list(range(200))
    labels = label_matrix(clicks, columns).numpy()
    click, rated = rows % 2, np.array([np.nan, 0, 1])[rows % 3]
    np.testing.assert_array_equal(labels, np.stack([click, np.where(click == 1, rows // 2 % 2, np.nan), rated], axis=1))
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(columns["sample_weight"].numpy(), np.float32(0.25) * (rows % 5))
    np.testing.assert_allclose(columns["truth/click"].numpy(), 0.01 * (rows % 100), rtol=1e-6)


def test_neither_labels_nor_weights_of_rows_are_features(clicks: Experiment, data: PreparedData) -> None:
    columns = next(iter(split_batches(data, clicks, "train", 8)))
    assert set(feature_columns(clicks, columns)) == {"row", "words", "words_weights", "id"}
    signature = column_signature(clicks)
    assert set(signature) == set(columns)
    assert signature["sample_weight"] == tf.TensorSpec([None], tf.float32, "sample_weight")
    for name, column in columns.items():
        assert signature[name].is_compatible_with(column), name


def test_a_split_in_memory_has_the_rows_of_the_files_in_their_order(clicks: Experiment, data: PreparedData) -> None:
    held = concat_rows(list(loaded_batches(load_split(data, clicks, "train"), 32)))
    read = concat_rows(list(split_batches(data, clicks, "train", 1000)))
    assert set(held) == set(read) and read["id"].numpy().max() > 1 << 32
    for name, column in read.items():
        assert held[name].dtype == column.dtype
        np.testing.assert_array_equal(held[name], column, err_msg=name)


def test_splits_in_memory_are_parsed_once_for_all_experiments_that_read_the_same(
    clicks: Experiment, data: PreparedData
) -> None:
    other = clicks.model_copy(update={"training": clicks.training.model_copy(update={"epochs": 7})})
    first, *others = [load_split(data, clicks, split) for split in ("train", "validation", "test")]
    assert load_split(data, other, "train") is first
    assert all(each is not first for each in others)
    fewer = clicks.model_copy(update={"features": clicks.features[:2]})
    assert "id" not in next(loaded_batches(load_split(data, fewer, "train"), 8))


def test_a_row_takes_as_many_bytes_as_its_longest_lists_do(clicks: Experiment, data: PreparedData) -> None:
    # The row's number, id, sample weight, three labels and one true probability; the list and its weights.
    assert bytes_in_memory(data, clicks, "train") == data.rows("train") * (7 + 2 * 3) * 8
    narrow = clicks.model_copy(update={"features": clicks.features[:2]})
    assert bytes_in_memory(data, narrow, "train") == data.rows("train") * (6 + 2 * 3) * 4
