# SPDX-License-Identifier: Apache-2.0
"""How hyper-parameters are searched for."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from typing_extensions import Self

from tf_crossdistil.config.section import Section, duplicates
from tf_crossdistil.config.training import Selection


class Range(Section):
    """Numbers between two ends, both included; whole numbers where the key has such."""

    low: float = Field(description="The least number.")
    high: float = Field(description="The greatest number.")
    log: bool = Field(False, description="Draw on a log scale; then `low` is above 0.")
    step: float | None = Field(
        None, gt=0, description="Draw `low` and every so many from there; without it all numbers. Not with `log`."
    )

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

    choices: list[JsonValue] = Field(min_length=1, description="The values, each once.")

    @model_validator(mode="after")
    def _once(self) -> Self:
        if twice := duplicates([json.dumps(choice) for choice in self.choices]):
            raise ValueError(f"choices has {twice[0]} twice; leave one out")
        return self


def _axis(content: Any, union: ValidatorFunctionWrapHandler) -> Range | Choices:
    if isinstance(content, Range | Choices):
        return content
    if isinstance(content, dict) and "choices" in content:
        return Choices.model_validate(content)
    if isinstance(content, dict) and {"low", "high"} <= content.keys():
        return Range.model_validate(content)
    raise ValueError(f"give {{low: .., high: ..}} or {{choices: [..]}}; received {content!r}")


# Left to itself, the union would name itself in errors.
Axis = Annotated[Range | Choices, WrapValidator(_axis)]


class Tuning(Selection):
    """What `crossdistil tune` tries, and by which metric of the validation split it compares trials."""

    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="How values are drawn: `tpe` (ten trials at random, then near good ones) or `random`."
    )
    pruning: Literal["median", "successive_halving", "none"] = Field(
        "median",
        description="Which trials are given up early: `median` (worse at an epoch than the median of complete trials, of which "
        "five must be there), `successive_halving`, `none`.",
    )
    space: dict[str, Axis] = Field(
        {},
        description="What is tried, by key as in `--set`; a feature or a task goes by its name: `features.user_id.dim`, "
        "`tasks.like.weight`.",
    )
