# SPDX-License-Identifier: Apache-2.0
"""What a search found."""

import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from tf_crossdistil.config import Tuning
from tf_crossdistil.tuning.space import Space
from tf_crossdistil.tuning.study import KeptStudy

_STATES: dict[TrialState, Literal["complete", "pruned", "failed"]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class TrialResult:
    """A finished trial.

    Attributes:
        number: from 0, which names its folder.
        state: complete, pruned or failed.
        set: the tuned values by key of the configuration.
        value: the metric of its best epoch, of a pruned trial that of its last one; None for a failed trial.
        epochs: how many were trained.
        seconds: that the trial took, validation included.
        error: why it failed.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    set: dict[str, Any]
    value: float | None
    epochs: int
    seconds: float
    error: str | None

    @classmethod
    def of(cls, trial: FrozenTrial, space: Space) -> "TrialResult":
        """The result of a trial of the study."""
        noted = trial.user_attrs
        value = None if trial.state == TrialState.FAIL else trial.value
        values = space.values(trial.params)
        return cls(trial.number, _STATES[trial.state], values, value, noted["epochs"], noted["seconds"], noted.get("error"))


@dataclass(frozen=True)
class SearchResult:
    """All trials of a search.

    Attributes:
        tuning: how was searched.
        trials: in order.
        best: None where no trial is complete.
        importances: of the tuned keys, the greatest first, of sum 1; empty where there are too few trials to tell.
    """

    tuning: Tuning
    trials: list[TrialResult]
    best: TrialResult | None
    importances: dict[str, float]

    @classmethod
    def of(cls, study: KeptStudy, space: Space) -> "SearchResult":
        """What a study has found so far."""
        trials = [TrialResult.of(trial, space) for trial in study.trials]
        best = None if study.best is None else trials[study.best.number]
        return cls(space.experiment.tuning, trials, best, {} if best is None else _importances(study))

    @property
    def ranked(self) -> list[TrialResult]:
        """The complete trials, the best first."""
        sign = -1 if self.tuning.larger_is_better else 1
        complete = [
            (sign * trial.value, trial.number, trial)
            for trial in self.trials
            if trial.state == "complete" and trial.value is not None
        ]
        return [trial for _, _, trial in sorted(complete)]

    def document(self) -> dict[str, Any]:
        """The content of `trials.json`."""
        return {
            "metric": self.tuning.metric,
            "best": None if self.best is None else self.best.number,
            "importances": self.importances,
            "trials": [asdict(trial) for trial in self.trials],
        }


def _importances(study: KeptStudy) -> dict[str, float]:
    with warnings.catch_warnings():
        # With too few trials Optuna warns, and calls all keys alike.
        warnings.simplefilter("error", UserWarning)
        try:
            # The one evaluator that needs no further package.
            return get_param_importances(study.study, evaluator=PedAnovaImportanceEvaluator())
        except UserWarning:
            return {}
