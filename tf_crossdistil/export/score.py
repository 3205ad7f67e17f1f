# SPDX-License-Identifier: Apache-2.0
"""One number to rank by, fused from the tasks' answers."""

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import UsageError
from tf_crossdistil.suggest import did_you_mean

SCORE = "score"
# By kind: how an answer and its weight become one term, and how the terms become the score.
_KINDS: dict[str, tuple[Callable[[Any, float], Any], Callable[[Any, Any], Any]]] = {
    "weights": (operator.mul, operator.add),
    "powers": (operator.pow, operator.mul),
}
_EXAMPLE = "give for example weights:finish=1,like=0.5 or powers:finish=1,like=0.5"


@dataclass(frozen=True)
class Score:
    """A further output of the served model, `[batch]`; tasks that it does not name count nothing.

    Attributes:
        kind: `weights` for the sum of `w a` over the tasks, a being a probability or a regression's value in its label's
            units; `powers` for the product of `p ** w`, of probabilities only.
        weights: w by task.

    Raises:
        UsageError: there is no such kind, or the weights are not finite, all 0, or, as powers, below 0.
    """

    kind: str
    weights: dict[str, float]

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise UsageError(f"score: there is no kind '{self.kind}'; {did_you_mean(self.kind, _KINDS)}")
        for task, weight in self.weights.items():
            if not math.isfinite(weight):
                raise UsageError(f"score: the weight of '{task}' is {weight}, expected a finite number; {_EXAMPLE}")
            # A probability may be as near to 0 as it likes, and what is divided by it as large.
            if self.kind == "powers" and weight < 0:
                raise UsageError(f"score: the power of '{task}' is {weight}, expected 0 or more; use weights: for less than 0")
        if not any(self.weights.values()):
            raise UsageError(f"score: every weight is 0, so that all rows would be equal; {_EXAMPLE}")

    @classmethod
    def parse(cls, text: str, task_names: Sequence[str]) -> "Score":
        """Reads `KIND:TASK=NUMBER,...`, such as `weights:finish=1,like=0.5`.

        Raises:
            UsageError: it is not written so, or does not suit the tasks.
        """
        kind, colon, terms = text.partition(":")
        if not colon:
            raise UsageError(f"score: '{text}' has no ':'; {_EXAMPLE}")
        weights: dict[str, float] = {}
        for term in terms.split(","):
            task, _, number = (part.strip() for part in term.partition("="))
            try:
                weight = float(number)
            except ValueError:
                raise UsageError(f"score: '{term}' is not TASK=NUMBER; {_EXAMPLE}") from None
            if task in weights:
                raise UsageError(f"score: task '{task}' is there twice; leave one out")
            weights[task] = weight
        score = cls(kind.strip(), weights)
        score._check_names(task_names)
        return score

    def check_tasks(self, experiment: Experiment) -> None:
        """Refuses tasks that this score does not suit.

        Raises:
            UsageError: it names another task, or, as powers, a regression task; or a task has the score's own name.
        """
        self._check_names(experiment.task_names)
        for task in self.weights:
            if self.kind == "powers" and task in experiment.regression_names:
                raise UsageError(
                    f"score: '{task}' is a regression task, whose values may be below 0 and so have no power; use weights:"
                )

    def __call__(self, answers: Mapping[str, Any]) -> Any:
        """The score `[batch]` of answers `[batch]` by task, as tensors or arrays."""
        term, fuse = _KINDS[self.kind]
        return functools.reduce(fuse, [term(answers[task], weight) for task, weight in self.weights.items()])

    def size(self, sizes: Mapping[str, float]) -> float:
        """How large a score may be of answers up to these sizes by task, without the signs by which terms cancel out."""
        return Score(self.kind, {task: abs(weight) for task, weight in self.weights.items()})(sizes)

    def _check_names(self, task_names: Sequence[str]) -> None:
        for task in self.weights:
            if task not in task_names:
                raise UsageError(f"score: there is no task '{task}'; {did_you_mean(task, task_names)}")
        if SCORE in task_names:
            raise UsageError(f"score: a task is called '{SCORE}' as the score's output would be; export without a score")
