# SPDX-License-Identifier: Apache-2.0
"""The graph of a training step has no operation as large as an embedding table, so that its cost cannot come to grow with them.

Tables are read by gathering rows and updated in place by row; neither gives a tensor of a table's size.
"""

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.config import Experiment, HashedFeature, NumericFeature, VocabularyFeature
from tf_crossdistil.config_file import load_config
from tf_crossdistil.data.records import column_signature, feature_columns
from tf_crossdistil.data.strata import strata
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.methods import METHODS
from tf_crossdistil.models.run import build
from tf_crossdistil.schema import Metadata, NumericStatistics, Vocabulary
from tf_crossdistil.training.optimizers import composite_optimizer

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
SMALLEST = "kuairand"
Cell = tuple[str, dict[str, dict[str, Any]]]
# Beside batches of a few rows, every tensor with so many elements has the size of a table.
ROWS, BATCH = 99_991, 8
SHIPPED: list[Cell] = [(path.stem, {}) for path in CONFIGS]
CHANGED: list[Cell] = [(SMALLEST, {"model": {"backbone": backbone}}) for backbone in BACKBONES]
CHANGED += [(SMALLEST, {"distillation": {"method": method}}) for method in METHODS]
CHANGED += [
    (SMALLEST, {"training": {"precision": "mixed_bfloat16"}}),
    (SMALLEST, {"training": {"precision": "mixed_float16"}}),
    (SMALLEST, {"training": {"xla": True}}),
    (SMALLEST, {"training": {"loss_weighting": "uncertainty"}}),
    (SMALLEST, {"model": {"interaction": "multi_layer_dcn"}}),
]


def experiment_of(name: str, changes: dict) -> Experiment:
    """A shipped configuration with changes, tables of `ROWS` rows and small batches."""
    path = next(path for path in CONFIGS if path.stem == name)
    content = load_config(path).model_dump(mode="json")
    for section, values in [("training", {"batch_size": BATCH, "strata_batch_size": BATCH}), *changes.items()]:
        content[section] |= values
    for feature in content["features"]:
        if feature["kind"] == "hashed":
            feature["buckets"] = ROWS
    return Experiment.model_validate(content)


def metadata_of(experiment: Experiment) -> Metadata:
    """What data would be whose vocabularies have `ROWS` ids."""
    owners = [feature.name for feature in experiment.features if isinstance(feature, VocabularyFeature)]
    numbers = NumericStatistics(count=9, missing=0, mean=2.0, deviation=4.0, minimum=0, maximum=9)
    tags = [f"{number:0{len(experiment.binary_names)}b}" for number in range(2 ** len(experiment.binary_names))]
    numeric = [feature.name for feature in experiment.features if isinstance(feature, NumericFeature)]
    return Metadata(
        name=experiment.name,
        run="r",
        package_version="0",
        schema_hash=experiment.schema_hash(),
        config={},
        rows_in=1000,
        rows_out=1000,
        dead_letters={},
        counts={"train": dict.fromkeys(tags, 100)},
        rates={},
        vocabularies={owner: Vocabulary(size=ROWS - 2, ids=ROWS, sha256="") for owner in owners},
        numeric=dict.fromkeys([*numeric, *experiment.regression_names], numbers),
        inputs=[],
    )


def element_spec(experiment: Experiment, model: CrossDistilModel) -> dict:
    """The signature of an element of `TrainingBatches`."""

    def columns(rows: int) -> dict[str, tf.TensorSpec]:
        signature = column_signature(experiment)
        shapes = {name: [rows, *spec.shape[1:]] for name, spec in signature.items()}
        return feature_columns(experiment, {name: tf.TensorSpec(shapes[name], spec.dtype) for name, spec in signature.items()})

    element = {"features": columns(BATCH), "labels": tf.TensorSpec([BATCH, len(experiment.tasks)])}
    if model.method.teachers == "ranking":
        element["strata"] = columns(len(strata(model.metadata)) * BATCH)
    return element


def model_of(experiment: Experiment) -> CrossDistilModel:
    model = CrossDistilModel(experiment, metadata_of(experiment))
    build(model, experiment)
    model.compile(optimizer=composite_optimizer(model, experiment.training))
    tables = sum(isinstance(feature, VocabularyFeature | HashedFeature) for feature in experiment.features)
    assert sum(table.shape[0] == ROWS for table in model.embedding_variables) >= tables > 0
    assert all(variable.shape.num_elements() < ROWS for variable in model.dense_variables)
    return model


def operations(function: tf.types.experimental.ConcreteFunction) -> list[tf.compat.v1.NodeDef]:
    """All operations of a graph and of the functions that it calls, with the shapes of their outputs."""
    graph = function.graph.as_graph_def(add_shapes=True)
    return [*graph.node, *(node for nested in graph.library.function for node in nested.node_def)]


def large_operations(function: tf.types.experimental.ConcreteFunction) -> set[str]:
    """The kinds of operations whose outputs are as large as a table."""
    return {
        node.op for node in operations(function) if any(_is_large(shape) for shape in node.attr["_output_shapes"].list.shape)
    }


def _is_large(shape) -> bool:
    elements = 1
    for dimension in shape.dim:
        # Unknown sizes are those of distinct ids in a batch, and of its lists.
        elements *= max(dimension.size, 1)
    return elements >= ROWS


def step_of(experiment: Experiment, model: CrossDistilModel) -> tf.types.experimental.ConcreteFunction:
    return tf.function(model.train_step).get_concrete_function(element_spec(experiment, model))


def cells():
    default: list[Cell] = [(SMALLEST, {})]
    for name, changes in [*SHIPPED, *CHANGED]:
        label = "-".join([name, *(str(value) for section in changes.values() for value in section.values())])
        yield pytest.param(name, changes, id=label, marks=() if (name, changes) in default else pytest.mark.slow)


@pytest.mark.parametrize(("name", "changes"), list(cells()))
def test_a_training_step_has_no_operation_of_a_tables_size(name, changes):
    experiment = experiment_of(name, changes)
    step = step_of(experiment, model_of(experiment))
    assert {"ResourceGather", "ResourceSparseApplyAdagradV2"} <= {node.op for node in operations(step)}
    assert large_operations(step) == set()


def dense_optimizer(kind):
    def change(model):
        model.compile(optimizer=kind())

    return change


def regularise(model):
    table = model.embedding_variables[0]
    model.network.add_loss(lambda: 1e-6 * tf.reduce_sum(tf.square(table)))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(dense_optimizer(keras.optimizers.legacy.Adam), id="legacy Adam"),
        pytest.param(dense_optimizer(keras.optimizers.Adam), id="Adam", marks=pytest.mark.slow),
        pytest.param(regularise, id="regulariser", marks=pytest.mark.slow),
    ],
)
def test_the_scan_finds_what_touches_every_row(change):
    changes = {"distillation": {"method": "none"}, "model": {"backbone": "shared_bottom"}}
    experiment = experiment_of(SMALLEST, changes)
    model = model_of(experiment)
    change(model)
    assert large_operations(step_of(experiment, model))


def test_the_scan_looks_into_functions_loops_and_branches():
    table = tf.Variable(tf.zeros([ROWS, 2]))

    def whole():
        return tf.reduce_sum(tf.square(table))

    for nested in (
        tf.function(whole),
        lambda: tf.while_loop(lambda i, _: i < 3, lambda i, total: (i + 1, total + whole()), [0, 0.0])[1],
        lambda: tf.cond(tf.reduce_sum(table[0]) > 0, whole, lambda: 0.0),
        tf.function(whole, jit_compile=True),
        lambda: tf.reduce_sum(tf.reshape(table, [-1])),
    ):
        assert large_operations(tf.function(nested).get_concrete_function()) & {"Square", "Reshape", "ReadVariableOp"}
    few = tf.function(lambda: tf.gather(table, [1, 2]))
    assert large_operations(few.get_concrete_function()) == set()
