# SPDX-License-Identifier: Apache-2.0
"""Raw values to ids, and records with lists, against hand-made vocabularies and records."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.models.small_model import small_experiment
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import parse_requests, raw_columns, request_signature
from tf_crossdistil.data.records import column_signature, concat_rows, feature_columns, parse_records
from tf_crossdistil.export.warm_up import serialize_example

WORDS = ["ann", "bob", "ünï"]
OOV_BUCKETS = 2
LONGEST = 3


def experiment(weights="w"):
    return small_experiment(
        features=[
            {"name": "user", "kind": "categorical", "oov_buckets": OOV_BUCKETS},
            {"name": "friends", "kind": "multi_value", "share_with": "user", "max_length": LONGEST, "weights": weights},
            {"name": "topics", "kind": "multi_value", "max_length": 2},
            {"name": "age", "kind": "numeric", "default": 5.0},
        ]
    )


@pytest.fixture
def lookup(tmp_path: Path) -> FeatureLookup:
    (tmp_path / "user.txt").write_text("".join(word + "\n" for word in WORDS), encoding="utf-8")
    (tmp_path / "topics.txt").write_text("", encoding="utf-8")
    return FeatureLookup(experiment(), tmp_path)


def id_of(word):
    return WORDS.index(word) + 1 if word in WORDS else 1 + len(WORDS) + int(tf.strings.to_hash_bucket_fast(word, OOV_BUCKETS))


def listed(ids, weights=None):
    """Per row the ids that are not padding, with their weights."""
    weights = np.zeros(np.shape(ids)) if weights is None else np.asarray(weights)
    return [[(int(i), float(w)) for i, w in zip(*row, strict=True) if i] for row in zip(np.asarray(ids), weights, strict=True)]


ROWS = [
    {"user": " bob ", "friends": ["bob", "", "zoe", " ünï\t", "ann"], "friends_weights": [2.0, 9.0, np.nan, 0.0, 4.0]},
    {"user": "", "friends": [], "friends_weights": []},
    {"user": "ann", "friends": ["ann", "ann"], "friends_weights": None},
    {"user": "zoe", "friends": None},
]
EXPECTED = [
    [(id_of("bob"), 2.0), (id_of("zoe"), 1.0), (id_of("ünï"), 0.0)],
    [],
    [(id_of("ann"), 1.0), (id_of("ann"), 1.0)],
    [],
]


def complete(row):
    return {"topics": ["a", "b", "c"], "age": float("nan")} | row


def test_lists_drop_empty_values_and_then_keep_the_first(lookup):
    columns = lookup(raw_columns(experiment(), [complete(row) for row in ROWS]))
    assert listed(columns["friends"], columns["friends_weights"]) == EXPECTED
    assert columns["user"].numpy().tolist() == [id_of("bob"), 0, id_of("ann"), id_of("zoe")]
    assert columns["age"].numpy().tolist() == [5.0] * 4
    # Out of an empty vocabulary, everything is in the only oov bucket.
    assert listed(columns["topics"]) == [[(1, 0.0), (1, 0.0)]] * 4


def test_examples_are_looked_up_as_rows_are(lookup):
    examples = [serialize_example(experiment(), complete(row)) for row in ROWS]
    columns = lookup(parse_requests(experiment(), tf.constant([*examples, b""])))
    assert listed(columns["friends"], columns["friends_weights"]) == [*EXPECTED, []]
    assert listed(columns["topics"])[-1] == []
    assert columns["age"].numpy().tolist() == [5.0] * 5


@pytest.mark.parametrize("width", [0, 1, 2, 9])
def test_weights_may_be_narrower_or_wider_than_their_list(lookup, width):
    raw = raw_columns(experiment(), [complete(ROWS[2]), complete(ROWS[3])])
    raw["friends"] = tf.constant([["", "ann", "bob"], ["", "zoe", ""]])
    raw["friends_weights"] = tf.fill([2, width], 3.0)
    columns = lookup(raw)
    weights = [3.0 if place < width else 1.0 for place in range(3)]
    assert listed(columns["friends"], columns["friends_weights"]) == [
        [(id_of("ann"), weights[1]), (id_of("bob"), weights[2])],
        [(id_of("zoe"), weights[1])],
    ]


def test_a_shared_vocabulary_is_one_table_in_the_graph(lookup):
    assert sorted(lookup.tables) == ["topics", "user"]
    signature = request_signature(experiment())
    function = tf.function(lookup.__call__, input_signature=[signature]).get_concrete_function()
    assert [dict(signature)[name].shape.rank for name in ("user", "friends", "friends_weights", "topics")] == [1, 2, 2, 2]
    tables = {op.inputs[0].ref() for op in function.graph.get_operations() if op.type.startswith("LookupTableFind")}
    assert len(tables) == 1


def record(friends, weights):
    features = {
        "user": tf.train.Feature(int64_list=tf.train.Int64List(value=[2**62])),
        "friends": tf.train.Feature(int64_list=tf.train.Int64List(value=friends)),
        "friends_weights": tf.train.Feature(float_list=tf.train.FloatList(value=weights)),
        "topics": tf.train.Feature(int64_list=tf.train.Int64List(value=[])),
    } | {name: tf.train.Feature(float_list=tf.train.FloatList(value=[1.0])) for name in ("age", "finish", "like")}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def test_batches_padded_to_different_lengths_go_behind_one_another():
    batches = [[record([3, 1], [0.5, 2.0]), record([], [])], [record([4], [1.0])], [record([2**62, 1, 7], [1.0, 2.0, 3.0])]]
    parsed = [parse_records(experiment(), tf.constant(batch)) for batch in batches]
    assert [columns["friends"].shape[1] for columns in parsed] == [2, 1, 3]
    columns = concat_rows(parsed)
    assert columns["friends"].numpy().tolist() == [[3, 1, 0], [0, 0, 0], [4, 0, 0], [2**62, 1, 7]]
    assert columns["friends_weights"].numpy().tolist() == [[0.5, 2, 0], [0, 0, 0], [1, 0, 0], [1, 2, 3]]
    assert columns["topics"].shape == (4, 0) and columns["user"].shape == (4,)
    assert set(feature_columns(experiment(), columns)) == {"user", "friends", "friends_weights", "topics", "age"}
    for name, spec in column_signature(experiment()).items():
        assert spec.is_compatible_with(columns[name]), name
