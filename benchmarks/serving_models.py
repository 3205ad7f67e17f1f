# SPDX-License-Identifier: Apache-2.0
"""SavedModels of one network, untrained: what we export, the same that takes ids, and all that training has.

python -m benchmarks.serving_models FOLDER ENTRIES KIND ...

writes a run with the network as its best epoch, `FOLDER/KIND/1`, the requests and the job of the peer, and prints how many
seconds each kind took.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from benchmarks.peer_jobs import peer_job
from benchmarks.serving_data import DIM, serving_experiment, serving_metadata, write_prepared, write_requests
from tf_crossdistil.config import Experiment
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import request_signature
from tf_crossdistil.data.records import Columns, column_signature
from tf_crossdistil.export.publish import export
from tf_crossdistil.models.checkpoint_files import Position
from tf_crossdistil.models.crossdistil import CrossDistilModel, build
from tf_crossdistil.models.run import Run, weights_checkpoint
from tf_crossdistil.training.optimizers import composite_optimizer

_REQUEST_ROWS = 20_480


def write_export(target: Path, run: Run, model: CrossDistilModel) -> None:
    """What `crossdistil export` writes and checks: students, raw features in."""
    export(run, target, version=1)


def write_ids(target: Path, run: Run, model: CrossDistilModel) -> None:
    """The students without look-ups: columns of ids and numbers in."""
    experiment, module = model.experiment, tf.Module()

    def probabilities(columns: Columns) -> dict[str, tf.Tensor]:
        logits = model.network(columns, tasks=experiment.task_names, training=False)
        return {task: tf.sigmoid(logits[task]) for task in experiment.task_names}

    _save(target, module, probabilities, _feature_signature(experiment))


def write_training_model(target: Path, run: Run, model: CrossDistilModel) -> None:
    """Everything that training has, optimizers included, with the same look-ups: students and calibrated teachers."""
    module = tf.Module()
    module.lookup = FeatureLookup(model.experiment, run.vocabularies)
    module.variables_of_training = [*model.variables, *_optimizer_variables(model), *model.calibration.calibrator.variables]

    def probabilities(raw: Columns) -> dict[str, tf.Tensor]:
        logits = model(module.lookup(raw), training=False)
        teachers = tf.sigmoid(model.calibrated(model.teacher_logits(logits)))
        students = {task: tf.sigmoid(logits[task]) for task in model.experiment.task_names}
        return students | {"teachers": teachers}

    _save(target, module, probabilities, request_signature(model.experiment))


KINDS: dict[str, Callable[[Path, Run, CrossDistilModel], None]] = {
    "export": write_export,
    "ids": write_ids,
    "training_model": write_training_model,
}


def _feature_signature(experiment: Experiment) -> dict[str, tf.TensorSpec]:
    features = {feature.name for feature in experiment.features}
    return {name: spec for name, spec in column_signature(experiment).items() if name in features}


def _save(
    target: Path,
    module: tf.Module,
    probabilities: Callable[[Columns], dict[str, tf.Tensor]],
    signature: dict[str, tf.TensorSpec],
) -> None:
    function = tf.function(probabilities, input_signature=[signature]).get_concrete_function()
    # What the function reads is stored only where the module has it.
    module.variables_of_function = list(function.variables)
    tf.saved_model.save(module, str(target / "1"), signatures={"serving_default": function})


def _optimizer_variables(model: CrossDistilModel) -> list[tf.Variable]:
    """Those of a trained model's optimizer: a step without gradients makes them."""
    optimizer = composite_optimizer(model, model.experiment.training)
    tables = [
        (tf.IndexedSlices(tf.zeros([1, table.shape[1]]), tf.zeros([1], tf.int64), tf.constant(table.shape.as_list())), table)
        for table in model.embedding_variables
    ]
    optimizer.apply_gradients([*tables, *((tf.zeros_like(variable), variable) for variable in model.dense_variables)])
    return [variable for part in optimizer.optimizers for variable in part.variables()]


def main() -> None:
    """Writes the models."""
    parser = argparse.ArgumentParser(description="The SavedModels that benchmarks.serving compares.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("entries", type=int)
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    arguments = parser.parse_args()
    folder, entries = arguments.folder, arguments.entries
    experiment = serving_experiment(entries)
    metadata = serving_metadata(experiment, entries)
    write_requests(folder, _REQUEST_ROWS, entries)
    tables = {name: vocabulary.ids for name, vocabulary in metadata.vocabularies.items()}
    peer_job(experiment, tables, DIM).write(folder / "job.json")
    run = Run.create(folder / "run", experiment, write_prepared(folder / "prepared", metadata, entries))
    keras.utils.set_random_seed(0)
    model = CrossDistilModel(experiment, metadata)
    build(model, experiment)
    weights_checkpoint(model).write(str(run.checkpoints / "best" / Position(epochs=1).name))
    seconds = {}
    for kind in arguments.kinds:
        start = time.perf_counter()
        KINDS[kind](folder / kind, run, model)
        seconds[kind] = time.perf_counter() - start
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
