# SPDX-License-Identifier: Apache-2.0
"""Of every backbone: no loss reaches what is another task's, neither through CTFM nor through GKD."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.mutual_network import COLUMNS, STUDENTS, WITH_TEACHERS, made
from tests.models.small_model import OWN_BACKBONE
from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.layers.perceptron import Tower


class Passed:
    """What the network passes on from now on: one tensor a task, even where tasks share one."""

    def __init__(self, monkeypatch):
        self.representations: dict[str, tf.Tensor] = {}
        self.hidden: dict[Tower, tf.Tensor] = {}
        backbone, tower = Backbone.__call__, Tower.__call__

        def represent(layer, *args, **kwargs):
            self.representations = {task: tf.identity(output) for task, output in backbone(layer, *args, **kwargs).items()}
            return self.representations

        def climb(layer, *args, **kwargs):
            hidden, logit = tower(layer, *args, **kwargs)
            self.hidden[layer] = hidden
            return hidden, logit

        monkeypatch.setattr(Backbone, "__call__", represent)
        monkeypatch.setattr(Tower, "__call__", climb)


def assert_isolated(tape, outputs, inputs):
    """What a task gives has a gradient by its own input, and zero by every other task's."""
    assert list(outputs) == list(inputs) and set(outputs) >= set(STUDENTS)
    for task, output in outputs.items():
        gradients = tape.gradient(output, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        assert np.any(gradients[task]), f"no gradient by its own, of {task}"
        for other in inputs:
            assert other == task or not np.any(gradients[other]), f"a gradient by what is of {other}, of {task}"


def passed_on(network, monkeypatch):
    """The tape, the tower inputs before CTFM, the last hidden layers and the logits, each by task."""
    with monkeypatch.context() as patch:
        passed = Passed(patch)
        with tf.GradientTape(persistent=True) as tape:
            logits = network(COLUMNS)
    hidden = {task: passed.hidden[network.towers[task]] for task in logits}
    return tape, {task: passed.representations[task] for task in logits}, hidden, logits


ISOLATED = [(backbone, "none", [6]) for backbone in [*BACKBONES, OWN_BACKBONE]]
ISOLATED += [(backbone, "crossdistil", towers) for backbone in [*BACKBONES, OWN_BACKBONE] for towers in ([6], [])]


@pytest.mark.parametrize(
    ("backbone", "method", "towers"),
    [
        pytest.param(*case, marks=() if "none" in case or case == ("ple", "crossdistil", [6]) else pytest.mark.slow)
        for case in ISOLATED
    ],
)
def test_no_loss_reaches_what_is_another_tasks(backbone, method, towers, monkeypatch):
    network = made(WITH_TEACHERS, backbone, method=method, towers=towers)
    tape, representations, hidden, logits = passed_on(network, monkeypatch)
    assert_isolated(tape, logits, representations)
    assert_isolated(tape, logits, hidden)

    # Without the block both would be seen: that of CTFM and that of GKD, each by itself.
    monkeypatch.setattr(tf, "stop_gradient", tf.identity)
    tape, representations, hidden, logits = passed_on(network, monkeypatch)
    with pytest.raises(AssertionError, match="a gradient by what is of"):
        assert_isolated(tape, hidden, representations)
    with pytest.raises(AssertionError, match="a gradient by what is of"):
        assert_isolated(tape, logits, hidden)
