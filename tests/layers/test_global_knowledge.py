# SPDX-License-Identifier: Apache-2.0
"""GKD against an independent forward pass."""

import numpy as np
import pytest
import tensorflow as tf

from tf_crossdistil.layers.dropout import Dropout
from tf_crossdistil.layers.global_knowledge import GlobalKnowledge
from tf_crossdistil.layers.precision import computing_in

ROWS = 5
ALIKE = {"a": 4, "b": 4, "c": 4}


def last_hidden(widths):
    generator = np.random.default_rng(0)
    return {task: generator.normal(size=(ROWS, width)).astype(np.float32) for task, width in widths.items()}


def randomised(layer, inputs):
    layer(inputs, layer.readers)
    generator = np.random.default_rng(1)
    for variable in layer.variables:
        variable.assign(generator.normal(size=variable.shape))
    return layer


def forward(layer, inputs, task, dropout=1.0):
    """What is added to the logit of `task`, from the equations; `info` is scaled where dropout stands."""
    everything = np.concatenate([inputs[source] for source in layer.sources], axis=1)
    (kernel, bias), (gate, offset), (output,) = (
        [weight.numpy() for weight in of[task].weights] for of in (layer.info_of, layer.gate_of, layer.output_of)
    )
    info = dropout * np.maximum(everything @ kernel + bias, 0)
    weight = 1 / (1 + np.exp(-(np.concatenate([inputs[task], info], axis=1) @ gate + offset)))
    assert info.shape == weight.shape == inputs[task].shape
    return ((weight * info) @ output)[:, 0]


@pytest.mark.parametrize(
    ("readers", "widths"),
    [
        (["a"], {"a": 4}),
        (["a", "b", "c"], ALIKE),
        (["a", "b", "c"], {"a": 4, "b": 2, "c": 7}),
        (["a+", "b+"], {"a": 4, "b": 4, "a+": 4, "b+": 4}),
        ([*"abcdefgh"], dict.fromkeys("abcdefgh", 3)),
    ],
    ids=["one", "three", "widths", "teachers", "eight"],
)
def test_forward_pass(readers, widths):
    inputs = last_hidden(widths)
    layer = randomised(GlobalKnowledge(readers, list(widths), dropout=0.5), inputs)
    assert len(layer.variables) == 5 * len(readers)
    outputs = layer(inputs, readers)
    assert list(outputs) == readers
    for task in readers:
        np.testing.assert_allclose(outputs[task], forward(layer, inputs, task), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(layer(inputs, [task])[task], outputs[task])
        assert np.any(outputs[task])


def test_dropout_is_on_the_information_before_it_is_gated(monkeypatch):
    monkeypatch.setattr(Dropout, "call", lambda self, inputs, training=False: 3 * inputs if training else inputs)
    inputs = last_hidden(ALIKE)
    layer = randomised(GlobalKnowledge(list(ALIKE), list(ALIKE), dropout=0.5), inputs)
    for task, output in layer(inputs, layer.readers, training=True).items():
        np.testing.assert_allclose(output, forward(layer, inputs, task, dropout=3.0), rtol=1e-4, atol=1e-5)


def test_what_is_added_is_float32_in_half_precision():
    inputs = last_hidden(ALIKE)
    with computing_in("mixed_bfloat16"):
        layer = randomised(GlobalKnowledge(list(ALIKE), list(ALIKE)), inputs)
    assert layer.info_of["a"].compute_dtype == layer.gate_of["a"].compute_dtype == "bfloat16"
    for task, output in layer(inputs, layer.readers).items():
        assert output.dtype == tf.float32
        np.testing.assert_allclose(output, forward(layer, inputs, task), rtol=0.1, atol=0.1)
    assert {variable.dtype for variable in layer.variables} == {tf.float32}
