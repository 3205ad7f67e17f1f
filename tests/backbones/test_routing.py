# SPDX-License-Identifier: Apache-2.0
"""MSSM and SNR: what closed gates do, what closes them, and where their penalty counts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.models.small_model import small_batch, small_experiment, small_metadata
from tf_crossdistil.backbones.registry import find_backbone
from tf_crossdistil.config import Experts, Model
from tf_crossdistil.layers.hard_concrete import HardConcreteGates
from tf_crossdistil.models.crossdistil import CrossDistilModel, build
from tf_crossdistil.training.optimizers import composite_optimizer

STUDENTS, TEACHERS = ["a", "b"], ["a+", "b+"]
TASKS = [*STUDENTS, *TEACHERS]
ROUTED = pytest.mark.parametrize("name", ["mssm", "snr"])
INPUTS = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
UNITS = 6
# Such gates are 0 or 1 in every draw.
CLOSED, OPEN = -40.0, 40.0


def made(name, levels=1, penalty=0.0):
    keras.utils.set_random_seed(3)
    settings = Model(backbone=name, experts=Experts(shared=2, per_task=1, units=[UNITS], levels=levels, l0_penalty=penalty))
    backbone = find_backbone(name)(STUDENTS, TEACHERS, settings)
    backbone(INPUTS, tasks=TASKS)
    return backbone


def log_alphas(backbone):
    return [layer.log_alpha for layer in backbone.submodules if isinstance(layer, HardConcreteGates)]


def expected_open(log_alphas):
    return sum(float((1 / (1 + np.exp(-alpha.numpy() - np.log(3)))).sum()) for alpha in log_alphas)


def changed(backbone, owner, index, training=False):
    """The tasks whose representations become others when an expert does."""
    before = backbone(INPUTS, tasks=TASKS, training=training)
    for variable in backbone.experts[owner][index].variables:
        variable.assign_add(tf.ones_like(variable))
    after = backbone(INPUTS, tasks=TASKS, training=training)
    return [task for task in TASKS if not np.array_equal(before[task], after[task])]


@ROUTED
def test_gates_have_the_shapes_of_their_connections(name):
    shapes = {tuple(variable.shape) for variable in log_alphas(made(name, levels=2))}
    expected = {
        # Connections, 1, nodes, cells: of shared nodes that read the students' and their own; of a task's nodes.
        "mssm": {(4, 1, 2, UNITS), (3, 1, 1, UNITS)},
        "snr": {(2, 1, 2, 1), (2, 1, 1, 1)},
    }
    assert shapes == expected[name]


@ROUTED
@pytest.mark.parametrize("training", [False, True])
def test_a_closed_connection_changes_nothing(name, training):
    backbone = made(name)
    for task, nodes in backbone.levels[0].items():
        gates = np.full(nodes.gates.log_alpha.shape, OPEN)
        # The shared experts come last.
        gates[-2] = CLOSED if task in ("a", "b+") else OPEN
        nodes.gates.log_alpha.assign(gates)
    assert changed(backbone, "(shared)", 0, training) == ["b", "a+"]
    assert changed(backbone, "(shared)", 1, training) == TASKS


def test_in_mssm_a_gate_is_of_one_cell():
    backbone = made("mssm")
    nodes = backbone.levels[0]["a"]
    before = backbone(INPUTS, tasks=["a"])["a"].numpy()
    nodes.gates.log_alpha.assign(tf.tensor_scatter_nd_update(nodes.gates.log_alpha, [[2, 0, 0, 3]], [CLOSED]))
    after = backbone(INPUTS, tasks=["a"])["a"].numpy()
    assert (before != after).any(axis=0).tolist() == [cell == 3 for cell in range(UNITS)]
    # What the closed cell would read.
    places = [[2, cell, 0, 3] for cell in range(UNITS)]
    nodes.kernel.assign(tf.tensor_scatter_nd_add(nodes.kernel, places, tf.fill([UNITS], 9.0)))
    np.testing.assert_array_equal(backbone(INPUTS, tasks=["a"])["a"], after)


def test_in_mssm_experts_of_a_task_reach_others_through_shared_nodes_only_and_those_of_teachers_never():
    assert changed(made("mssm"), "a", 0) == ["a"]
    assert changed(made("mssm", levels=2), "a", 0) == TASKS
    assert changed(made("mssm", levels=2), "a+", 0) == ["a+"]


def test_in_snr_all_experts_are_shared():
    backbone = made("snr", levels=2)
    assert list(backbone.experts) == ["(shared)"]
    assert changed(backbone, "(shared)", 1) == TASKS


@ROUTED
def test_draws_are_of_training_only_and_other_ones_at_each_call(name):
    backbone = made(name)
    drawn = [backbone(INPUTS, tasks=["a"], training=True)["a"].numpy() for _ in range(2)]
    assert not np.allclose(*drawn)
    np.testing.assert_array_equal(*[backbone(INPUTS, tasks=["a"])["a"] for _ in range(2)])


def test_checkpoints_go_on_with_the_draws(tmp_path):
    backbone = made("mssm", levels=2)
    backbone(INPUTS, tasks=TASKS, training=True)
    path = tf.train.Checkpoint(backbone=backbone).write(str(tmp_path / "backbone"))
    resumed = made("mssm", levels=2)
    tf.train.Checkpoint(backbone=resumed).read(path).assert_consumed()
    expected, received = (model(INPUTS, tasks=TASKS, training=True) for model in (backbone, resumed))
    for task in TASKS:
        np.testing.assert_array_equal(received[task], expected[task])


@pytest.mark.parametrize(("name", "penalty", "closes"), [("mssm", 100.0, True), ("snr", 100.0, True), ("snr", 1e-6, False)])
def test_a_strong_penalty_closes_all_gates_in_a_few_steps(name, penalty, closes):
    backbone = made(name, penalty=penalty)
    optimizer = keras.optimizers.legacy.Adam(0.2)
    variables = backbone.trainable_variables
    for _ in range(8):
        with tf.GradientTape() as tape:
            outputs = backbone(INPUTS, tasks=TASKS, training=True)
            errors = [tf.reduce_mean((output - 1) ** 2) for output in outputs.values()]
            loss = tf.add_n([*errors, *backbone.losses])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    # 0 at inference where log alpha is at most -ln 3.
    still_open = sum(int((alpha.numpy() > -np.log(3)).sum()) for alpha in log_alphas(backbone))
    assert (still_open == 0) == closes
    assert [output.numpy().any() for output in backbone(INPUTS, tasks=TASKS).values()] == [not closes] * len(TASKS)


@pytest.mark.parametrize("name", ["snr", pytest.param("mssm", marks=pytest.mark.slow)])
def test_the_penalty_counts_every_gate_once_around_compiled_calls_and_pulls_on_log_alpha_only(name):
    backbone = made(name, penalty=2.0)
    variables, alphas = backbone.trainable_variables, log_alphas(backbone)
    compiled = tf.function(lambda: backbone(INPUTS, tasks=TASKS, training=True), jit_compile=True)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            outputs = [compiled(), compiled()]
            loss = tf.add_n(backbone.losses)
        pulled = {v.ref() for v, g in zip(variables, tape.gradient(loss, variables), strict=True) if g is not None}
        return loss, outputs, tf.constant([v.ref() in pulled for v in variables])

    loss, _, pulled = step()
    np.testing.assert_allclose(loss, 2 * expected_open(alphas), rtol=1e-5)
    assert len(alphas) == len(TASKS)
    assert pulled.numpy().tolist() == [variable.ref() in {alpha.ref() for alpha in alphas} for variable in variables]


@pytest.mark.slow
@pytest.mark.parametrize("xla", [False, True])
def test_the_penalty_is_a_part_of_a_models_loss(xla):
    experiment = small_experiment(
        features=[{"name": "user", "kind": "categorical", "dim": 3}],
        model={"backbone": "mssm", "experts": {"units": [5], "levels": 2, "l0_penalty": 0.25}, "towers": [6]},
    )
    model = CrossDistilModel(experiment, small_metadata(experiment), xla=xla)
    build(model, experiment)
    model.compile(optimizer=composite_optimizer(model, experiment.training))
    expected = 0.25 * expected_open(log_alphas(model))
    logs = {name: float(value) for name, value in tf.function(model.train_step)(small_batch()).items()}
    of_data = sum(logs[name] for name in logs if name not in ("loss", "calibration", "regularisation"))
    np.testing.assert_allclose(logs["loss"] - of_data, expected, rtol=1e-4)


MIRRORED = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from tests.training.strategies import mirrored_steps
from tf_crossdistil.layers.hard_concrete import HardConcreteGates
from tf_crossdistil.schema import PreparedData

with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    gates = HardConcreteGates([50], 0.0)
    gates(tf.ones([50]))
    strategy = tf.distribute.get_strategy()
    draw = tf.function(lambda: strategy.run(lambda: gates(tf.ones([50]), training=True)))
    draws = [np.array(values) for _ in range(2) for values in strategy.experimental_local_results(draw())]
assert len({values.tobytes() for values in draws}) == 4

# Without draws two devices are to train as one, the penalty included.
HardConcreteGates._noise = lambda gates: tf.zeros(gates.log_alpha.shape)
mirrored_steps.SETTINGS.append("model.experts.l0_penalty=0.01")
far = mirrored_steps.compare(Path(sys.argv[1]), PreparedData.open(Path(sys.argv[2])), "mssm")["far"]
assert max(far.values()) < 5e-6, far
print("the same")
"""


@pytest.mark.slow
def test_replicas_draw_for_themselves_and_count_the_penalty_once(config_file, prepared):
    command = [sys.executable, "-c", MIRRORED, str(config_file), str(prepared.directory.parent)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert ended.stdout.strip().endswith("the same"), ended.stderr[-3000:]
