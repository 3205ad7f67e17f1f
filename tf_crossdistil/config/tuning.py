"""How hyper-parameters are searched for."""

import json
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator
from typing_extensions import Self

from tf_crossdistil.config.section import Section, duplicates
from tf_crossdistil.config.training import DIRECTIONS


class Range(Section):
    """Numbers from `low` to `high`, both included: all of them, or `low` and every `step` from there; `log`: on a log scale."""

    low: float
    high: float
    log: bool = False
    step: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _ends_and_steps(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high; received low: {self.low:g}, high: {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log: true needs low above 0; received low: {self.low:g}")
        if self.step is not None:
            if self.log:
                raise ValueError("step and log: true exclude each other; leave one out")
            steps = (self.high - self.low) / self.step
            if abs(steps - round(steps)) > 1e-6:
                raise ValueError(f"high must be low and a whole number of steps of {self.step:g}; {steps:g} steps lie between")
        return self


class Choices(Section):
    """Any values that the key may have."""

    choices: list[JsonValue] = Field(min_length=1)

    @model_validator(mode="after")
    def _once(self) -> Self:
        if twice := duplicates([json.dumps(choice) for choice in self.choices]):
            raise ValueError(f"choices has {twice[0]} twice; leave one out")
        return self


def _kind(axis: Any) -> str:
    has_choices = "choices" in axis if isinstance(axis, dict) else isinstance(axis, Choices)
    return "choices" if has_choices else "range"


Axis = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)]


class Tuning(Section):
    """What `crossdistil tune` tries: the `space` by key of the configuration, and the mean of `metric` over the tasks, on the
    validation split, by which it chooses.

    `direction` says which values are better; one that contradicts the metric is an error. `sampler`: how values are drawn.
    `pruning`: which trials are given up early.
    """

    metric: Literal["auc", "multi_auc", "log_loss"] = "auc"
    direction: Literal["max", "min"] | None = None
    sampler: Literal["tpe", "random"] = "tpe"
    pruning: Literal["median", "successive_halving", "none"] = "median"
    space: dict[str, Axis] = {}

    @property
    def larger_is_better(self) -> bool:
        """Whether a larger value of the metric is better."""
        return DIRECTIONS[self.metric] == "max"

    def __eq__(self, other: object) -> bool:
        # How settings were found is no part of what is trained: runs resume and cells are kept when only this has changed.
        return isinstance(other, Tuning)

    def __hash__(self) -> int:
        return hash(Tuning)

    @model_validator(mode="after")
    def _direction_of_the_metric(self) -> Self:
        if self.direction not in (None, DIRECTIONS[self.metric]):
            raise ValueError(
                f"direction: {self.direction} contradicts metric: {self.metric}, of which the {DIRECTIONS[self.metric]}imum "
                "is best; mend either"
            )
        return self
