# SPDX-License-Identifier: Apache-2.0
"""Networks of any number of tasks: training steps over made-up rows, and the multiplications of their forward pass."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.training_steps import trainable
from tf_crossdistil.config import Experiment
from tf_crossdistil.data.strata import strata
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.schema import Manifest, Metadata, PreparedData

FEATURES, DIM, TABLE_ROWS = 10, 16, 10_000
EXPERTS, UNITS, TOWER = 4, 64, 32
STRATA_BATCH_SIZE = 128
_WARM_UP_STEPS = 3
_ROWS_OF_A_TAG = 100


@dataclass(frozen=True)
class Variant:
    """What is trained: `model.mutual` and the method of the distillation."""

    features: str = "none"
    distillation: str = "none"
    method: str = "none"


VARIANTS = {
    "plain": Variant(),
    "ctfm": Variant(features="ctfm"),
    "gkd": Variant(distillation="gkd"),
    "both": Variant("ctfm", "gkd"),
    "crossdistil": Variant(method="crossdistil"),
    "crossdistil_both": Variant("ctfm", "gkd", "crossdistil"),
}


def tasks_experiment(tasks: int, variant: str, backbone: str, batch_size: int) -> Experiment:
    """A configuration of so many binary tasks over ten features of dimension 16."""
    chosen = VARIANTS[variant]
    return Experiment.model_validate(
        {
            "name": "tasks",
            "tasks": [{"name": f"task_{number}", "column": f"task_{number}"} for number in range(tasks)],
            "features": [
                {"name": f"feature_{number}", "kind": "hashed", "buckets": TABLE_ROWS, "dim": DIM} for number in range(FEATURES)
            ],
            "split": {"by": "hash", "key": ["feature_0"]},
            "model": {
                "backbone": backbone,
                "experts": {"shared": EXPERTS, "units": [UNITS]},
                "towers": [TOWER],
                "dropout": 0.1,
                "mutual": {"features": chosen.features, "distillation": chosen.distillation},
            },
            "distillation": {"method": chosen.method},
            "training": {"batch_size": batch_size, "strata_batch_size": STRATA_BATCH_SIZE},
        }
    )


def funnel_data(experiment: Experiment) -> PreparedData:
    """What a prepared data set says of itself where each task's positives are among those of the task before.

    So there are `tasks + 1` label combinations, as of a click, a cart and a purchase, of the `2 ** tasks` that could be.
    """
    tasks = len(experiment.tasks)
    counts = {"1" * positive + "0" * (tasks - positive): _ROWS_OF_A_TAG for positive in range(tasks + 1)}
    rows = _ROWS_OF_A_TAG * len(counts)
    metadata = Metadata(
        name=experiment.name,
        run="none",
        package_version="0",
        schema_hash=experiment.schema_hash(),
        config={},
        rows_in=rows,
        rows_out=rows,
        dead_letters={},
        counts={"train": counts},
        rates={},
        vocabularies={},
        numeric={},
        inputs=[],
    )
    return PreparedData(Path(), metadata, Manifest(files=[]))


class TaskSteps:
    """The training steps of one model on one batch, which holds no file and waits for no input."""

    def __init__(self, experiment: Experiment):
        data = funnel_data(experiment)
        self.model = trainable(experiment, data)
        compares = self.model.method.teachers == "ranking"
        self._batch = _batch(experiment, len(strata(data.metadata)) if compares else 0)
        self._step = tf.function(self.model.train_step, autograph=False)
        for _ in range(_WARM_UP_STEPS):
            self.seconds()

    def seconds(self) -> float:
        """Takes a step and the processor's time that it takes, which on one core is the step's own whatever else runs."""
        start = time.process_time()
        losses = self._step(self._batch)
        # Reading a value waits for the step.
        float(losses["loss"])
        return time.process_time() - start


def _batch(experiment: Experiment, drawn_tags: int) -> dict[str, object]:
    """An element of `TrainingBatches` of rows that are the same in every process."""
    generator = np.random.default_rng(0)
    rows = experiment.training.batch_size

    def columns(count: int) -> dict[str, tf.Tensor]:
        return {f.name: tf.constant(generator.integers(0, TABLE_ROWS, count)) for f in experiment.features}

    positives = generator.integers(0, len(experiment.tasks) + 1, rows)
    labels = (np.arange(len(experiment.tasks)) < positives[:, np.newaxis]).astype(np.float32)
    batch = {"features": columns(rows), "labels": tf.constant(labels)}
    if drawn_tags:
        batch["strata"] = columns(drawn_tags * experiment.training.strata_batch_size)
    return batch


def multiplications(model: CrossDistilModel) -> int:
    """How often the students' forward pass of one row multiplies, in products of matrices and of elements.

    Counted from the shapes in the graph of the function, so of what is computed, not of what ought to be.

    Raises:
        ValueError: the graph has an operation that multiplies in a way that is not known here.
    """
    row = {feature.name: tf.TensorSpec([1], tf.int64) for feature in model.experiment.features}
    network = model.network
    function = tf.function(lambda columns: network(columns, network.students), autograph=False).get_concrete_function(row)
    return sum(_of_operation(operation) for operation in function.graph.get_operations())


def _of_operation(operation: tf.Operation) -> int:
    if operation.type in _COUNTS:
        return _COUNTS[operation.type](operation)
    if "MatMul" in operation.type or operation.type in _UNKNOWN:
        raise ValueError(f"multiplications of {operation.type} are not counted: {operation.name}")
    return 0


def _of_product(transposed: str) -> Callable[[tf.Operation], int]:
    """The count of a product of matrices whose attribute `transposed` says which way round the first one is."""

    def count(operation: tf.Operation) -> int:
        first, output = operation.inputs[0].shape, operation.outputs[0].shape
        return math.prod(output.as_list()) * first.as_list()[-2 if operation.get_attr(transposed) else -1]

    return count


def _of_elements(operation: tf.Operation) -> int:
    return math.prod(operation.outputs[0].shape.as_list())


def _of_einsum(operation: tf.Operation) -> int:
    """Each combination of the values of all indices is one multiplication."""
    terms = operation.get_attr("equation").decode().split("->")[0].split(",")
    shapes = [tensor.shape.as_list() for tensor in operation.inputs]
    sizes = {index: size for term, shape in zip(terms, shapes, strict=True) for index, size in zip(term, shape, strict=True)}
    return math.prod(sizes.values())


_COUNTS: dict[str, Callable[[tf.Operation], int]] = {
    "MatMul": _of_product("transpose_a"),
    "BatchMatMulV2": _of_product("adj_x"),
    "Einsum": _of_einsum,
    "Mul": _of_elements,
}
# They hide what they do.
_UNKNOWN = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Conv2D")
