# SPDX-License-Identifier: Apache-2.0
"""Warm start: a new run goes on from a former one, whose vocabularies may have been others.

What the former run's best epoch has for a value, a bucket or a weight goes on, with the state that the optimizers had for it;
what it lacks starts as in any new run.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_crossdistil.config import Experiment, NumericFeature
from tf_crossdistil.errors import UsageError
from tf_crossdistil.layers.numeric import BucketEmbedding
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.methods import method_of
from tf_crossdistil.models.run import Run
from tf_crossdistil.models.task_outputs import label_scale
from tf_crossdistil.schema import NumericStatistics, PreparedData
from tf_crossdistil.training.carried_rows import carried_rows, embedded_features
from tf_crossdistil.training.former_checkpoint import FormerCheckpoint

# By which part of their deviation the numbers of a feature or a label may move unmentioned.
_MOVED = 0.1
# What of a feature may differ between the runs: where its values come from, and which of them have ids.
_FREE_OF_FEATURES = {"column", "min_count", "max_size", "oov_buckets", "buckets", "boundaries", "pretrained"} | {
    "delimiter",
    "max_length",
    "default",
}


def check_warm_start(run: Run, experiment: Experiment, data: PreparedData) -> None:
    """Refuses a former run that a new one cannot go on from, before anything is written.

    Reads all of the former run's checkpoint and vocabularies once, so that damage is told.

    Args:
        run: the former run.
        experiment: the new run's configuration.
        data: a prepared data set of that configuration.

    Raises:
        UsageError: the two configurations make networks that differ in more than vocabularies.
        CrossDistilError: the former run has no finished epoch, or its files are damaged.
    """
    for key, former, new in _settings(run.experiment, experiment):
        if former != new:
            raise UsageError(
                f"cannot go on from {run.directory}: {key} is {new}, there it is {former}; make it the same, or train without "
                "--warm-start"
            )
    FormerCheckpoint(run).check()
    for feature in embedded_features(experiment):
        carried_rows(feature, run, data)


def warm_start(model: CrossDistilModel, run: Run, data: PreparedData) -> list[str]:
    """Puts what a former run learned into a model and its optimizers; everything else stays as it is.

    Args:
        model: built and compiled; pretrained vectors are in it already, since rows that go on win over them.
        run: the former run, which `check_warm_start` let pass.
        data: which the model will be trained on.

    Returns:
        Lines that say what goes on, with warnings.

    Raises:
        UsageError: a weight of the former run has another shape.
        CrossDistilError: the former run's files are damaged.
    """
    all_rows = [carried_rows(feature, run, data) for feature in embedded_features(model.experiment)]
    by_table = {id(table): rows for rows in all_rows for table in _tables(model, rows.feature)}
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    parts = {"network": model.network, "loss_weighting": model.loss_weighting, "optimizer": optimizer}
    if method_of(run.experiment).trains_calibration and model.method.trains_calibration:
        parts |= {"calibration": model.calibration.calibrator, "calibration_optimizer": model.calibration.optimizer}
    with model.distribute_strategy.scope():
        variables, with_state = FormerCheckpoint(run).restore(parts, by_table)
        moved_labels = list(_keep_values(model, run, data))
    lines = [rows.report(run) for rows in all_rows] + list(_moved_numbers(model.experiment, run, data)) + moved_labels
    lines += _new_weights(model, run, {id(variable) for variable in variables})
    if not with_state:
        lines.append(f"warning: {run.directory} kept no state of its optimizers, so that the first steps are large")
    return lines


def _settings(former: Experiment, new: Experiment) -> Iterator[tuple[str, Any, Any]]:
    """What must be the same for weights to keep their meaning: key, value of the former run, value of the new one."""
    yield "the list of tasks", former.task_names, new.task_names
    yield "the list of their kinds", [task.kind for task in former.tasks], [task.kind for task in new.tasks]
    # The first dense layers take the features side by side, in their order.
    yield "the list of features", [feature.name for feature in former.features], [feature.name for feature in new.features]
    for known, feature in zip(former.features, new.features, strict=True):
        place = f"features.{feature.name}"
        yield f"{place}.kind", known.kind, feature.kind
        for key in sorted(type(feature).model_fields.keys() - _FREE_OF_FEATURES):
            yield f"{place}.{key}", getattr(known, key), getattr(feature, key)
    for key in sorted(type(new.model).model_fields.keys() - {"dropout", "experts"}):
        yield f"model.{key}", getattr(former.model, key), getattr(new.model, key)
    for key in sorted(type(new.model.experts).model_fields.keys() - {"l0_penalty"}):
        yield f"model.experts.{key}", getattr(former.model.experts, key), getattr(new.model.experts, key)
    if method_of(former).trains_calibration and method_of(new).trains_calibration:
        yield "distillation.calibration", former.distillation.calibration, new.distillation.calibration


def _tables(model: CrossDistilModel, feature: str) -> Iterator[tf.Variable]:
    """Every copy of a feature's table."""
    for encoder in model.network.encoders.values():
        layer = encoder.encoders[feature]
        yield (layer.table if isinstance(layer, BucketEmbedding) else encoder.tables[feature]).embeddings


def _moved_numbers(experiment: Experiment, run: Run, data: PreparedData) -> Iterator[str]:
    """A line for each feature that the network sees differently, since statistics come from the new data."""
    for feature in experiment.features:
        if not isinstance(feature, NumericFeature):
            continue
        former, new = run.metadata.numeric[feature.name], data.metadata.numeric[feature.name]
        if feature.is_bucketized and len(former.boundaries) == len(new.boundaries) and former.boundaries != new.boundaries:
            yield f"feature '{feature.name}': its boundaries moved; each bucket goes on from the one at its place"
        if feature.transform == "standardize" and _have_moved(former, new):
            yield (
                f"feature '{feature.name}': mean {former.mean:.4g} and deviation {former.deviation:.4g} became {new.mean:.4g} "
                f"and {new.deviation:.4g}; warning: the network takes up its numbers on the former scale"
            )


def _have_moved(former: NumericStatistics, new: NumericStatistics) -> bool:
    return max(abs(new.mean - former.mean), abs(new.deviation - former.deviation)) > _MOVED * former.deviation


def _keep_values(model: CrossDistilModel, run: Run, data: PreparedData) -> Iterator[str]:
    """Has the towers of regression tasks go on with the values that they gave, in units of the new labels' deviation.

    `m' + d' r' = m + d r` of means m and deviations d makes `r' = (d / d') r + (m - m') / d'` of what the last layers give.
    Yields a line for each task whose labels moved.
    """
    for task in model.experiment.regression_names:
        former, new = run.metadata.numeric[task], data.metadata.numeric[task]
        (mean, deviation), (new_mean, new_deviation) = label_scale(former), label_scale(new)
        factor, shift = deviation / new_deviation, (mean - new_mean) / new_deviation
        logit = model.network.towers[task].logit
        added = [group.output_of[task] for group in model.network.distillation.groups.values() if task in group.output_of]
        for layer in (logit, *added):
            layer.kernel.assign(factor * layer.kernel)
        logit.bias.assign(factor * logit.bias + shift)
        if _have_moved(former, new):
            yield (
                f"task '{task}': mean {former.mean:.4g} and deviation {former.deviation:.4g} of its labels became "
                f"{new.mean:.4g} and {new.deviation:.4g}; it goes on with the values that it gave"
            )


def _new_weights(model: CrossDistilModel, run: Run, carried: set[int]) -> list[str]:
    """A line on weights that the former run lacks, such as those of teachers."""
    weights = [*model.network.trainable_variables, *model.loss_weighting.trainable_variables]
    if model.method.trains_calibration:
        weights += model.calibration.calibrator.trainable_variables
    new = [weight for weight in weights if id(weight) not in carried]
    if not new:
        return []
    was, now = run.experiment, model.experiment
    causes = {"distillation.method": (was.distillation.method, now.distillation.method)}
    causes |= {"training.loss_weighting": (was.training.loss_weighting, now.training.loss_weighting)}
    why = "; ".join(f"{key} is {new}, there it is {former}" for key, (former, new) in causes.items() if former != new)
    return [f"{len(new)} weights start anew, which {run.directory} lacks" + (f": {why}" if why else "")]
