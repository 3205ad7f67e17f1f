# SPDX-License-Identifier: Apache-2.0
"""Mixed precision and XLA: what is computed in which precision, what is compiled, and that both train as float32 does."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.models.small_model import AUTHORS, DRAWS, OWN_BACKBONE, ROWS, small_batch, small_experiment, small_metadata
from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.config import Training
from tf_crossdistil.layers.interaction import INTERACTIONS
from tf_crossdistil.layers.perceptron import Perceptron
from tf_crossdistil.layers.precision import computing_in
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.methods import method_of
from tf_crossdistil.models.ranking_network import RankingNetwork
from tf_crossdistil.models.run import build
from tf_crossdistil.training.optimizers import composite_optimizer

COMPUTED_IN = {"float32": tf.float32, "mixed_float16": tf.float16, "mixed_bfloat16": tf.bfloat16}
TOLERANCE = {"mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}
FEATURES: list[dict[str, Any]] = [
    {"name": "user", "kind": "categorical", "dim": 3},
    {"name": "author", "kind": "hashed", "buckets": AUTHORS, "dim": 2},
    {"name": "duration", "kind": "numeric", "transform": "standardize"},
]


class Learner:
    """A small network and its optimizer, trained towards low logits; a model without its losses, which take long to trace."""

    def __init__(self, precision="float32", xla=False, backbone="ple", dropout=0.3):
        experiment = small_experiment(
            features=FEATURES,
            model={"backbone": backbone, "experts": {"units": [5], "levels": 1}, "towers": [6], "dropout": dropout},
        )
        keras.utils.set_random_seed(3)
        self.network = RankingNetwork(experiment, small_metadata(experiment), method_of(experiment), precision, xla)
        columns = small_batch()["features"]
        self.features = {feature["name"]: tf.constant(columns[feature["name"]]) for feature in FEATURES}
        self.network(self.features)
        generator = np.random.default_rng(3)
        for variable in self.variables:
            variable.assign(generator.normal(scale=0.5, size=variable.shape))
        as_model: Any = self
        self.optimizer = composite_optimizer(as_model, Training(precision=precision, learning_rate=0.01))
        self.step = tf.function(self._step)
        self.evaluate = tf.function(self.network)

    @property
    def variables(self):
        return self.network.trainable_variables

    @property
    def embedding_variables(self):
        return self.network.embedding_variables

    @property
    def dense_variables(self):
        tables = {table.ref() for table in self.embedding_variables}
        return [variable for variable in self.variables if variable.ref() not in tables]

    @property
    def checkpoint(self):
        return tf.train.Checkpoint(network=self.network, optimizer=self.optimizer)

    def _step(self, features, factor):
        with tf.GradientTape() as tape:
            logits = self.network(features, training=True)
            loss = factor * tf.add_n([tf.reduce_mean(tf.nn.softplus(logit)) for logit in logits.values()])
        self.optimizer.minimize(loss, self.variables, tape=tape)
        return loss

    def train(self, steps, factor=0.1):
        return [float(self.step(self.features, tf.constant(factor))) for _ in range(steps)]

    def weights(self):
        return [variable.numpy() for variable in [*self.variables, *self.optimizer.weights]]


@pytest.fixture(scope="module")
def reference():
    learner = Learner()
    return learner, learner.train(5)


@pytest.fixture(scope="module")
def half():
    """Trained in float16, whose loss needs scaling."""
    learner = Learner("mixed_float16")
    return learner, learner.train(5)


def spied(monkeypatch, owner, attribute):
    """The outputs of every call of a method from now on."""
    outputs = []
    original = getattr(owner, attribute)

    def spy(self, *args, **kwargs):
        outputs.append(original(self, *args, **kwargs))
        return outputs[-1]

    monkeypatch.setattr(owner, attribute, spy)
    return outputs


@pytest.mark.parametrize("precision", COMPUTED_IN)
def test_dense_layers_compute_in_the_precision_and_everything_else_in_float32(precision, monkeypatch):
    activations = spied(monkeypatch, Perceptron, "call")
    learner = Learner(precision)
    logits = learner.network(learner.features, training=True)
    assert {output.dtype for output in activations} == {COMPUTED_IN[precision]}
    assert {logit.dtype for logit in logits.values()} == {tf.float32}
    assert {variable.dtype for variable in learner.network.variables} == {tf.float32}
    (encoder,) = learner.network.encoders.values()
    assert {vector.dtype for vector in encoder(learner.features).values()} == {tf.float32}
    assert keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.slow
def test_float16_trains_as_float32_does(reference, half):
    np.testing.assert_allclose(half[1], reference[1], rtol=TOLERANCE["mixed_float16"])
    assert half[1] != reference[1]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "xla"), [("mixed_float16", False), ("mixed_bfloat16", True), ("mixed_float16", True)])
def test_a_model_logs_the_losses_of_float32(precision, xla):
    logs = []
    for arguments in [("float32", False), (precision, xla)]:
        training = {"precision": arguments[0], "batch_size": ROWS, "strata_batch_size": DRAWS}
        experiment = small_experiment(model={"dropout": 0.3}, training=training)
        keras.utils.set_random_seed(3)
        model = CrossDistilModel(experiment, small_metadata(experiment), *arguments)
        build(model, experiment)
        model.compile(optimizer=composite_optimizer(model, experiment.training))
        batches = tf.data.Dataset.from_tensors(small_batch()).repeat()
        logs.append(model.fit(batches, steps_per_epoch=5, verbose=0).history)
    assert logs[0].keys() == logs[1].keys()
    for name, values in logs[1].items():
        np.testing.assert_allclose(values, logs[0][name], rtol=TOLERANCE[precision], atol=TOLERANCE[precision], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("backbone", [*BACKBONES, OWN_BACKBONE])
def test_every_backbone_trains_in_every_precision_compiled_and_not(backbone, precision, xla):
    losses = Learner(backbone=backbone).train(5)
    np.testing.assert_allclose(Learner(precision, xla, backbone).train(5), losses, rtol=TOLERANCE[precision])


def test_a_checkpoint_of_a_mixed_run_is_one_of_a_float32_network(half, tmp_path):
    learner, _ = half
    path = tf.train.Checkpoint(network=learner.network).write(str(tmp_path / "weights"))
    other = Learner()
    tf.train.Checkpoint(network=other.network).read(path).assert_consumed()
    for variable, trained in zip(other.variables, learner.variables, strict=True):
        np.testing.assert_array_equal(variable, trained)
    expected = learner.network(learner.features)
    for task, logit in other.network(learner.features).items():
        np.testing.assert_allclose(logit, expected[task], rtol=1e-2, atol=1e-2)


def test_a_step_that_overflows_is_skipped_and_halves_the_scale(half, tmp_path):
    learner, _ = half
    before, scale = learner.weights(), float(learner.optimizer.loss_scale)
    (loss,) = learner.train(1, factor=1e30)
    assert np.isfinite(loss)
    assert float(learner.optimizer.loss_scale) == scale / 2
    counters = [variable.dtype.is_integer for variable in [*learner.variables, *learner.optimizer.weights]]
    for counts, value, was in zip(counters, learner.weights(), before, strict=True):
        assert counts or np.array_equal(value, was)
    learner.train(1)
    assert not np.array_equal(learner.weights()[0], before[0])

    path = learner.checkpoint.write(str(tmp_path / "everything"))
    resumed = Learner("mixed_float16")
    resumed.checkpoint.read(path)
    assert float(resumed.optimizer.loss_scale) == scale / 2
    assert resumed.train(3) == learner.train(3)
    for value, undisturbed in zip(resumed.variables, learner.variables, strict=True):
        np.testing.assert_array_equal(value, undisturbed)


@pytest.mark.slow
def test_the_scale_grows_while_nothing_overflows(half):
    learner, _ = half
    scale = float(learner.optimizer.loss_scale)
    learner.optimizer.dynamic_counter.assign(learner.optimizer.dynamic_growth_steps - 1)
    learner.train(1)
    assert float(learner.optimizer.loss_scale) == 2 * scale


def compiled_functions(function, *args):
    """The operations of each function of a graph that XLA compiles."""
    library = function.get_concrete_function(*args).graph.as_graph_def().library.function
    return [[node.op for node in part.node_def] for part in library if part.attr["_XlaMustCompile"].b]


@pytest.mark.slow
def test_xla_compiles_the_dense_part_of_training_once_and_changes_no_number(reference, monkeypatch):
    calls = spied(monkeypatch, Backbone, "__call__")
    learner = Learner(xla=True)
    losses = learner.train(1)
    traced = len(calls)
    losses += learner.train(4)
    assert len(calls) == traced
    np.testing.assert_allclose(losses, reference[1], rtol=1e-5)
    for variable, expected in zip(learner.variables, reference[0].variables, strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-4)

    parts = compiled_functions(learner.step, learner.features, tf.constant(1.0))
    matmuls = [sum(op == "MatMul" for op in part) for part in parts]
    # Forward, once more as Keras calls it without a gradient, and of each product the backward pass takes two.
    assert sorted(matmuls) == [min(matmuls), min(matmuls), 2 * min(matmuls)] and min(matmuls) > 0
    assert not any("Gather" in op for part in parts for op in part)
    assert compiled_functions(learner.evaluate, learner.features) == []


@pytest.mark.slow
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", INTERACTIONS)
def test_every_interaction_in_mixed_precision_and_compiled(name, precision):
    generator = np.random.default_rng(0)
    vectors = {feature: tf.constant(generator.normal(size=(7, 3)), tf.float32) for feature in ["user", "author", "tags"]}
    exact = INTERACTIONS[name](dict.fromkeys(vectors, 3))
    with computing_in(precision):
        mixed = INTERACTIONS[name](dict.fromkeys(vectors, 3))
        mixed(vectors)
    exact(vectors)
    for variable, other in zip(mixed.variables, exact.variables, strict=True):
        other.assign(generator.normal(size=variable.shape))
        variable.assign(other)
    outputs = tf.function(mixed, jit_compile=True)(vectors)
    assert outputs.dtype == COMPUTED_IN[precision]
    size = np.abs(exact(vectors)).max()
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), exact(vectors), atol=5 * TOLERANCE[precision] * size)
