# SPDX-License-Identifier: Apache-2.0
"""Labels that records, which hold numbers in single precision, cannot tell apart."""

from collections.abc import Mapping

import numpy as np

from tf_crossdistil.config import Experiment, Task
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import NumericStatistics

# Shares of the deviation.
_WARNED_ABOVE = 0.01
_REFUSED_ABOVE = 1.0
# Below it a processor may take numbers for 0.
_SMALLEST = float(np.finfo(np.float32).tiny)


def spacing(labels: NumericStatistics) -> float:
    """How far apart the numbers of single precision are at the largest of some labels."""
    largest = np.float32(max(abs(labels.minimum), abs(labels.maximum)))
    return max(float(np.spacing(largest)), _SMALLEST)


def check_precision(experiment: Experiment, labels: Mapping[str, NumericStatistics]) -> None:
    """Refuses training labels by regression task whose deviation is less than their `spacing`.

    Raises:
        CrossDistilError: records could not hold them.
    """
    for task in _regression_tasks(experiment):
        known, apart = labels[task.name], spacing(labels[task.name])
        if apart > _REFUSED_ABOVE * known.deviation:
            raise CrossDistilError(
                f"the labels of task '{task.name}', {known.minimum:.15g} to {known.maximum:.15g}, deviate by "
                f"{known.deviation:.6g}, expected at least {apart:.6g}: records hold numbers in single precision, which are so "
                f"far apart there; {_mend(task)}"
            )


def precision_warnings(
    experiment: Experiment, labels: Mapping[str, Mapping[str, NumericStatistics]], scale: Mapping[str, NumericStatistics]
) -> list[str]:
    """A sentence for every regression task whose labels lose something in records.

    Args:
        experiment: the configuration.
        labels: by split and task.
        scale: the labels by which a model puts its outputs to scale, by task.
    """
    warnings = []
    for task in _regression_tasks(experiment):
        apart, deviation = max(spacing(known[task.name]) for known in labels.values()), scale[task.name].deviation
        if apart > _WARNED_ABOVE * deviation:
            warnings.append(
                f"the labels of task '{task.name}' are rounded: they deviate by {deviation:.6g}, but records hold numbers in "
                f"single precision, which are {apart:.6g} apart at the largest label; {_mend(task)}"
            )
    return warnings


def _regression_tasks(experiment: Experiment) -> list[Task]:
    return [task for task in experiment.tasks if task.kind == "regression"]


def _mend(task: Task) -> str:
    return f"subtract an offset from column '{task.column}' in the logs, or give it another unit"
