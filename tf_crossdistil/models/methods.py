# SPDX-License-Identifier: Apache-2.0
"""The distillation methods: which parts of CrossDistil each of them has."""

from dataclasses import dataclass
from typing import Literal

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import UsageError
from tf_crossdistil.suggest import did_you_mean


@dataclass(frozen=True)
class Method:
    """What a method trains beside the students' hard-label losses.

    Attributes:
        teachers: what they learn: the augmented `ranking` loss of Eq. 4, the `labels` of their own task, or that there are
            `none`.
        auxiliary_ranking: the ranking loss has the terms of the auxiliary tasks; else only the bipartite one.
        soft_labels: whose teacher the student of a task learns from: that of its `own` task, the teachers of its `auxiliary`
            tasks (the mean of their probabilities), or `none`.
        calibration: teachers' logits are calibrated before they become soft labels (Eq. 8).
        correction: they are corrected where they contradict the label (Eq. 10).
    """

    teachers: Literal["ranking", "labels", "none"] = "ranking"
    auxiliary_ranking: bool = True
    soft_labels: Literal["own", "auxiliary", "none"] = "own"
    calibration: bool = True
    correction: bool = True

    @property
    def trains_calibration(self) -> bool:
        """Whether there are teachers whose logits are calibrated."""
        return self.teachers != "none" and self.calibration


# The ablations are those of the paper's Tables 4 and 5.
METHODS = {
    "crossdistil": Method(),
    "taug": Method(soft_labels="none"),
    "none": Method(teachers="none", soft_labels="none"),
    "without_auxiliary_ranking": Method(auxiliary_ranking=False),
    "without_calibration": Method(calibration=False),
    "without_correction": Method(correction=False),
    "kd_same_task": Method(teachers="labels", calibration=False, correction=False),
    "kd_cross_task": Method(teachers="labels", soft_labels="auxiliary", calibration=False, correction=False),
}


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UsageError: there is none; the nearest name is given.
    """
    if name not in METHODS:
        raise UsageError(f"distillation.method: there is no '{name}'; {did_you_mean(name, METHODS)}")
    return METHODS[name]


def method_of(experiment: Experiment) -> Method:
    """The method of a configuration.

    Raises:
        UsageError: there is none of that name, or it needs auxiliary tasks that a task does not have.
    """
    name = experiment.distillation.method
    method = find_method(name)
    alone = [task for task in experiment.binary_names if not experiment.auxiliary(task)]
    if method.soft_labels == "auxiliary" and alone:
        raise UsageError(
            f"distillation.method: {name} teaches each task by its auxiliary tasks, and '{alone[0]}' has none; give it some "
            "in distillation.auxiliary, or take another method"
        )
    return method
