"""What a model says about a whole split."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.records import Columns, feature_columns, label_matrix, split_batches
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.schema import TRUTH_PREFIX, PreparedData

BATCH_SIZE = 8192


def predict_split(
    model: CrossDistilModel,
    data: PreparedData,
    experiment: Experiment,
    split: str,
    progress: Callable[[int], None] = lambda rows: None,
) -> Predictions:
    """Probabilities of students and calibrated teachers for every row of a split, in the manifest's order.

    Args:
        model: a trained model.
        data: a prepared data set of the model's schema.
        experiment: the model's configuration.
        split: which split.
        progress: called with the number of further rows after each batch.

    Raises:
        CrossDistilError: the split has no rows.
    """
    if not data.rows(split):
        raise CrossDistilError(f"{data.directory} has no rows in split '{split}'; check 'split' in the configuration")

    @tf.function(reduce_retracing=True)
    def predict(columns: Columns) -> dict[str, tf.Tensor]:
        logits = model(feature_columns(experiment, columns), training=False)
        outputs = {
            "labels": label_matrix(experiment, columns),
            "students": tf.sigmoid(tf.stack([logits[task] for task in experiment.task_names], axis=1)),
        }
        if model.method.teachers:
            outputs["teachers"] = tf.sigmoid(model.calibration(model.teacher_logits(logits)))
        if any(task.truth for task in experiment.tasks):
            unknown = tf.fill(tf.shape(outputs["labels"][:, 0]), np.float32(np.nan))
            outputs["truth"] = tf.stack([columns.get(TRUTH_PREFIX + task, unknown) for task in experiment.task_names], axis=1)
        if experiment.evaluation.group_by:
            outputs["groups"] = columns[experiment.evaluation.group_by]
        return outputs

    batches = []
    for columns in split_batches(data, experiment, split, BATCH_SIZE):
        batches.append({name: values.numpy() for name, values in predict(columns).items()})
        progress(len(batches[-1]["labels"]))
    return Predictions(experiment.task_names, **{name: np.concatenate([b[name] for b in batches]) for name in batches[0]})
