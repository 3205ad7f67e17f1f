# SPDX-License-Identifier: Apache-2.0
"""What a tower's number means: the logit of a probability, or a regression's value in its own units."""

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import Metadata, NumericStatistics


def label_scale(label: NumericStatistics) -> tuple[float, float]:
    """Mean and deviation of a regression's label, in which its tower counts; 1 for the deviation of one that never varies."""
    return label.mean, label.deviation or 1.0


class TaskOutputs:
    """From what towers give to what is served, and from labels to what towers learn.

    A regression's tower gives `(value - mean) / deviation` of the label in the training split, so that its squared error
    weighs beside a cross entropy whatever the label's units are.

    Args:
        experiment: the configuration.
        metadata: of the prepared data.
    """

    def __init__(self, experiment: Experiment, metadata: Metadata):
        self._scales = {name: label_scale(metadata.numeric[name]) for name in experiment.regression_names}

    def answer(self, task: str, output: tf.Tensor) -> tf.Tensor:
        """The probability, or the value, that a tower's number stands for, of any shape."""
        if task not in self._scales:
            return tf.sigmoid(output, name=task)
        mean, deviation = self._scales[task]
        return tf.add(mean, deviation * output, name=task)

    def target(self, task: str, label: tf.Tensor) -> tf.Tensor:
        """The number that a tower should give for a label, of any shape."""
        if task not in self._scales:
            return label
        mean, deviation = self._scales[task]
        return (label - mean) / deviation
