# SPDX-License-Identifier: Apache-2.0
"""CTFM against an independent forward pass, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from tf_crossdistil.errors import UsageError
from tf_crossdistil.layers.cross_task_features import CrossTaskFeatures
from tf_crossdistil.layers.dropout import Dropout
from tf_crossdistil.layers.precision import computing_in

ROWS, WIDTH = 5, 4


def representations(tasks, seed=0):
    generator = np.random.default_rng(seed)
    return {task: generator.normal(size=(ROWS, WIDTH)).astype(np.float32) for task in tasks}


def randomised(layer, inputs):
    layer(inputs, layer.readers)
    generator = np.random.default_rng(1)
    for variable in layer.variables:
        variable.assign(generator.normal(size=variable.shape))
    return layer


def relu(x):
    return np.maximum(x, 0)


def forward(layer, inputs, task):
    """What `task` reads, row by row from the equations."""
    (q, q0), (k, k0), (v, v0) = ([w.numpy() for w in dense.weights] for dense in (layer.query, layer.key, layer.value))
    vectors = dict(zip(layer.sources, layer.vectors.numpy(), strict=True))
    expected = []
    for row in range(ROWS):
        x = {source: inputs[source][row] + vectors[source] for source in layer.sources}
        query = relu(x[task] @ q + q0)
        scores = np.array([query @ relu(x[source] @ k + k0) for source in layer.sources]) / np.sqrt(WIDTH)
        weights = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        values = [relu(x[source] @ v + v0) for source in layer.sources]
        expected.append(sum(weight * value for weight, value in zip(weights, values, strict=True)))
    return np.array(expected)


@pytest.mark.parametrize(
    ("readers", "sources"),
    [
        (["a"], ["a"]),
        (["a", "b", "c"], ["a", "b", "c"]),
        (["a+", "b+"], ["a", "b", "a+", "b+"]),
        ([*"abcdefgh"], [*"abcdefgh"]),
    ],
    ids=["one", "three", "teachers", "eight"],
)
def test_forward_pass(readers, sources):
    inputs = representations(sources)
    layer = randomised(CrossTaskFeatures(readers, sources, dropout=0.5), inputs)
    assert len(layer.variables) == 7
    outputs = layer(inputs, readers)
    assert list(outputs) == readers
    for task in readers:
        np.testing.assert_allclose(outputs[task], forward(layer, inputs, task), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer(inputs, [task])[task], outputs[task], rtol=1e-5, atol=1e-6)
        assert np.any(outputs[task])


def test_dropout_is_on_what_is_added(monkeypatch):
    monkeypatch.setattr(Dropout, "call", lambda self, inputs, training=False: 3 * inputs if training else inputs)
    inputs = representations("ab")
    layer = randomised(CrossTaskFeatures("ab", "ab", dropout=0.5), inputs)
    for task, output in layer(inputs, ["a", "b"], training=True).items():
        np.testing.assert_allclose(output, 3 * forward(layer, inputs, task), rtol=1e-5, atol=1e-6)


def test_the_tasks_vectors_start_small():
    layer = CrossTaskFeatures("abcdefgh", "abcdefgh")
    layer.build({task: tf.TensorShape([None, 500]) for task in layer.sources})
    assert layer.vectors.shape == (8, 500)
    assert np.std(layer.vectors) == pytest.approx(0.01, rel=0.1)


def test_the_softmax_is_float32_in_half_precision(monkeypatch):
    original, computed_in = tf.nn.softmax, []

    def softmax(scores):
        computed_in.append(scores.dtype)
        return original(scores)

    monkeypatch.setattr(tf.nn, "softmax", softmax)
    inputs = representations("ab")
    with computing_in("mixed_bfloat16"):
        layer = CrossTaskFeatures("ab", "ab")
    randomised(layer, inputs)
    for task, output in layer(inputs, ["a", "b"]).items():
        assert output.dtype == tf.bfloat16
        np.testing.assert_allclose(tf.cast(output, tf.float32), forward(layer, inputs, task), rtol=0.1, atol=0.1)
    assert set(computed_in) == {tf.float32}
    assert {variable.dtype for variable in layer.variables} == {tf.float32}


def test_different_widths_are_refused():
    layer = CrossTaskFeatures(["a", "b"], ["a", "b"])
    with pytest.raises(UsageError, match=r"^model.mutual.features: ctfm needs .* one width .* received the widths: a 4, b 5; "):
        layer.build({"a": tf.TensorShape([None, 4]), "b": tf.TensorShape([None, 5])})
