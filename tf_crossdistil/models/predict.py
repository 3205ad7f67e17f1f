# SPDX-License-Identifier: Apache-2.0
"""What a model says about a whole split."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from tf_crossdistil.config import SAMPLE_WEIGHT, Experiment
from tf_crossdistil.data.groups import group_feature, group_ids
from tf_crossdistil.data.loaded_split import fits_in_memory, load_split, loaded_batches
from tf_crossdistil.data.records import Columns, column_signature, feature_columns, label_matrix, split_batches
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.schema import TRUTH_PREFIX, PreparedData

BATCH_SIZE = 8192


class SplitPredictor:
    """What students and calibrated teachers say of every row of a split: probabilities, or a regression's values.

    It is traced once, however often it is called.

    Args:
        model: the model; its weights at the time of each call count.
        experiment: the model's configuration.
    """

    def __init__(self, model: CrossDistilModel, experiment: Experiment):
        self._model = model
        self._experiment = experiment
        self._groups = group_feature(experiment)
        self._predict = tf.function(self._outputs, input_signature=[column_signature(experiment)])

    def __call__(self, data: PreparedData, split: str, progress: Callable[[int], None] = lambda rows: None) -> Predictions:
        """Predicts a whole split, in the order of `split_batches`.

        Args:
            data: a prepared data set of the model's schema.
            split: which split.
            progress: called with the number of further rows after each batch.

        Raises:
            CrossDistilError: the split has no rows.
        """
        if not data.rows(split):
            raise CrossDistilError(f"{data.directory} has no rows in split '{split}'; check 'split' in its configuration")
        batches = []
        for columns in self._columns(data, split):
            batches.append({name: values.numpy() for name, values in self._predict(columns).items()})
            progress(len(batches[-1]["labels"]))
        arrays = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        return Predictions(self._experiment.task_names, **arrays, regression=self._experiment.regression_names)

    def _columns(self, data: PreparedData, split: str) -> Iterable[Columns]:
        """The batches of a split; from memory, since validation comes back to it after every epoch."""
        if fits_in_memory(data, self._experiment, split):
            return loaded_batches(load_split(data, self._experiment, split), BATCH_SIZE)
        return split_batches(data, self._experiment, split, BATCH_SIZE)

    def _outputs(self, columns: Columns) -> dict[str, tf.Tensor]:
        experiment = self._experiment
        logits = self._model(feature_columns(experiment, columns), training=False)
        binary, regressions = experiment.binary_names, experiment.regression_names
        probabilities = tf.sigmoid(tf.stack([logits[task] for task in binary], axis=1))
        values = {task: self._model.task_outputs.answer(task, logits[task]) for task in regressions}
        outputs = {
            "labels": label_matrix(experiment, columns),
            "students": self._by_task(columns, _unstack(binary, probabilities) | values),
        }
        if self._model.method.teachers != "none":
            calibrated = tf.sigmoid(self._model.calibrated(self._model.teacher_logits(logits)))
            outputs["teachers"] = self._by_task(columns, _unstack(binary, calibrated))
        if any(task.truth for task in experiment.tasks):
            truth = {task: columns[TRUTH_PREFIX + task] for task in experiment.task_names if TRUTH_PREFIX + task in columns}
            outputs["truth"] = self._by_task(columns, truth)
        if experiment.sample_weight is not None:
            outputs["weights"] = columns[SAMPLE_WEIGHT]
        if self._groups is not None:
            outputs["groups"] = group_ids(self._groups, self._model.metadata, columns)
        return outputs

    def _by_task(self, columns: Columns, values: dict[str, tf.Tensor]) -> tf.Tensor:
        """Values `[rows]` by task as `[rows, tasks]`, NaN for tasks without."""
        unknown = tf.fill(tf.shape(columns[self._experiment.task_names[0]]), np.float32(np.nan))
        return tf.stack([values.get(task, unknown) for task in self._experiment.task_names], axis=1)


def _unstack(tasks: Sequence[str], values: tf.Tensor) -> dict[str, tf.Tensor]:
    """The columns of `[rows, tasks]` by task."""
    return dict(zip(tasks, tf.unstack(values, num=len(tasks), axis=1), strict=True))
