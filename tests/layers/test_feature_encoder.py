# SPDX-License-Identifier: Apache-2.0
"""Features as inputs of the network: pooled lists, shared tables, buckets."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.numpy_oracle import encode, parameters_of
from tests.models.small_model import small_batch, small_model
from tf_crossdistil.config import NumericFeature
from tf_crossdistil.layers.embedding import PooledEmbedding, embedding_table
from tf_crossdistil.layers.numeric import BucketEmbedding
from tf_crossdistil.models.ranking_network import EVERY_TASK
from tf_crossdistil.schema import NumericStatistics

IDS = 6
TABLE = np.random.default_rng(0).normal(size=(IDS, 3)).astype(np.float32)
LISTS = st.lists(st.lists(st.tuples(st.integers(1, IDS - 1), st.sampled_from([0.0, 0.25, 1.0, 3.0])), max_size=7), max_size=5)


def pooling_layer(pooling):
    table = embedding_table(IDS, 3)
    table.build(None)
    table.set_weights([TABLE])
    return PooledEmbedding(table, pooling)


def pool(elements, pooling):
    """One row by definition."""
    total = sum((weight * TABLE[number].astype(np.float64) for number, weight in elements), np.zeros(3))
    weight = sum(weight for _, weight in elements)
    return total if pooling == "sum" else total / weight if weight else np.zeros(3)


@settings(max_examples=60, deadline=None)
@given(rows=LISTS, pooling=st.sampled_from(["mean", "sum"]), weighted=st.booleans(), data=st.data())
def test_pooling_is_its_definition_wherever_the_padding_stands(rows, pooling, weighted, data):
    width = data.draw(st.integers(max(map(len, rows), default=0), 9))
    ids, weights = np.zeros((len(rows), width), np.int64), np.full((len(rows), width), 7.0, np.float32)
    for row, elements in enumerate(rows):
        places = data.draw(st.permutations(range(width)))[: len(elements)]
        for place, (number, weight) in zip(places, elements, strict=True):
            ids[row, place], weights[row, place] = number, weight
    received = pooling_layer(pooling)(tf.constant(ids), tf.constant(weights) if weighted else None)
    expected = [pool([(number, weight if weighted else 1.0) for number, weight in row], pooling) for row in rows]
    np.testing.assert_allclose(received, np.reshape(expected, (-1, 3)), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_gradient_of_an_empty_list_and_of_zero_weights_is_finite(pooling):
    layer = pooling_layer(pooling)
    ids, weights = tf.constant([[0, 0], [2, 3], [2, 2]], tf.int64), tf.constant([[1.0, 1.0], [0.0, 0.0], [1.0, 3.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(ids, weights))
    gradient = tape.gradient(total, layer.table.embeddings)
    assert isinstance(gradient, tf.IndexedSlices)
    scale = 4.0 if pooling == "mean" else 1.0
    np.testing.assert_allclose(gradient.values, np.outer([0, 0, 1 / scale, 3 / scale, 0], np.ones(3)), atol=1e-6)


def test_a_boundary_belongs_to_the_bucket_above_it_as_float32():
    boundaries = [-1.0, 0.1, 1 / 3, 1e6, 3e38]
    statistics = NumericStatistics(count=1, missing=0, mean=0, deviation=1, minimum=0, maximum=1, boundaries=boundaries)
    layer = BucketEmbedding(NumericFeature(name="x", kind="numeric", transform="bucketize", boundaries=[0.0]), statistics)
    near = np.array(boundaries, np.float32)
    values = np.concatenate([near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf)), [0.0]])
    values = values.astype(np.float32)
    embedded = layer(tf.constant(values)).numpy()
    table = layer.table.get_weights()[0]
    assert table.shape == (6, 8)
    buckets = [sum(value >= boundary for boundary in near) for value in values]
    assert set(buckets) == set(range(6))
    np.testing.assert_array_equal(embedded, table[buckets])


def test_all_features_side_by_side():
    model, experiment = small_model()
    parameters = {name: variable.numpy().astype(np.float64) for name, variable in parameters_of(model).items()}
    features = small_batch()["features"]
    vectors = model.network.encoders[EVERY_TASK](features)
    assert list(vectors) == [feature.name for feature in experiment.features]
    np.testing.assert_allclose(np.concatenate(list(vectors.values()), axis=1), encode(parameters, features), atol=1e-5)


def test_features_that_share_a_vocabulary_share_one_table():
    encoder = small_model()[0].network.encoders[EVERY_TASK]
    assert sorted(encoder.tables) == ["author", "tags", "user"]
    assert encoder.encoders["friends"].table is encoder.encoders["user"] is encoder.tables["user"]
    assert sorted(tuple(variable.shape) for variable in encoder.trainable_variables) == [(3, 2), (4, 2), (5, 2), (7, 3)]
