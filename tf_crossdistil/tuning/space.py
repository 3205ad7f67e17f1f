# SPDX-License-Identifier: Apache-2.0
"""The search space of a configuration: what may be tried, and the experiment that a choice of values makes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tf_crossdistil.config import Choices, Experiment, Range
from tf_crossdistil.config.section import Section
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.errors import UsageError
from tf_crossdistil.suggest import did_you_mean

_EXAMPLE = (
    "tuning: {space: {training.learning_rate: {low: 0.0001, high: 0.01, log: true}, model.towers: {choices: [[32], [64]]}}}"
)
_OF_THE_DATA = "it changes the prepared data, which all trials share; prepare other data and tune on it"
_OF_NO_MODEL = "it changes nothing that a model learns; leave it out"
_REFUSED = {
    "source": _OF_THE_DATA,
    "split": _OF_THE_DATA,
    "sample_weight": _OF_THE_DATA,
    "name": _OF_NO_MODEL,
    "evaluation": _OF_NO_MODEL,
    "tuning": _OF_NO_MODEL,
    "training.seed": "all trials share it, so that they differ by what is tuned; leave it out",
}


@dataclass(frozen=True)
class Space:
    """A checked search space.

    Attributes:
        experiment: the configuration whose values it changes.
        distributions: what Optuna draws from, by key of the configuration.
        points: the experiments at the ends of ranges and at every choice, one key changed at a time.
    """

    experiment: Experiment
    distributions: dict[str, BaseDistribution]
    points: list[Experiment]

    @classmethod
    def of(cls, experiment: Experiment) -> "Space":
        """The space of a configuration's `tuning` section.

        Raises:
            UsageError: there is none, a key does not exist or cannot be tuned, or a point of it is no valid configuration.
        """
        axes = experiment.tuning.space
        if not axes:
            raise UsageError(f"the configuration has no tuning.space, so there is nothing to search; write such as {_EXAMPLE}")
        distributions = {key: _distribution(key, axis, _kind(experiment, key)) for key, axis in axes.items()}
        points = []
        for key, distribution in distributions.items():
            for value in _values_to_check(distribution):
                point = with_values(experiment, {key: value})
                if point.schema_hash() != experiment.schema_hash():
                    raise UsageError(f"tuning.space: '{key}' cannot be tuned: {_OF_THE_DATA}")
                points.append(point)
        return cls(experiment, distributions, points)

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the configuration that a trial's parameters stand for, in the order of the space."""
        return {
            key: json.loads(drawn[key]) if isinstance(distribution, CategoricalDistribution) else drawn[key]
            for key, distribution in self.distributions.items()
        }


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with other values at some keys, such as `training.learning_rate` or `features.user_id.dim`.

    Raises:
        UsageError: it is no valid configuration.
    """
    content = experiment.model_dump(mode="json")
    for key, value in values.items():
        *sections, last = key.split(".")
        part: Any = content
        for name in sections:
            # A section that is not written out has its defaults.
            part = next(item for item in part if item["name"] == name) if isinstance(part, list) else part.setdefault(name, {})
        part[last] = value
    return parse_config(content, f"tuning.space at {shown(values)}")


def shown(values: Mapping[str, Any]) -> str:
    """Values in one line, numbers with four digits."""
    return ", ".join(f"{key}={shown_value(value)}" for key, value in values.items())


def shown_value(value: Any) -> str:
    """A value as YAML would have it, a number with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _kind(experiment: Experiment, key: str) -> type[int] | type[float] | None:
    """Which numbers the key takes; None for one that takes other values.

    Raises:
        UsageError: the configuration has no such key, or none that can be tuned.
    """
    path = key.split(".")
    owner: Any = None
    part: Any = experiment
    for depth, name in enumerate(path):
        known = _named_parts(part)
        if name not in known:
            hint = did_you_mean(name, known) if known else f"'{'.'.join(path[:depth])}' has no keys in this configuration"
            raise UsageError(f"tuning.space: there is no '{key}'; {hint}")
        owner, part = part, known[name]
        if reason := _REFUSED.get(".".join(path[: depth + 1])):
            raise UsageError(f"tuning.space: '{key}' cannot be tuned: {reason}")
    if not isinstance(owner, Section) or depth == 0:
        raise UsageError(
            f"tuning.space: '{key}' has keys of its own; name one, such as '{key}.{next(iter(_named_parts(part)))}'"
        )
    annotation = type(owner).model_fields[name].annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((kind for kind in (int, float) if kind in kinds), None)


def _named_parts(part: Any) -> dict[str, Any]:
    """The fields of a section, or the sections of a list by name; empty for a plain value."""
    if isinstance(part, Section):
        return {name: getattr(part, name) for name in type(part).model_fields}
    if isinstance(part, list):
        return {item.name: item for item in part if isinstance(item, Section) and hasattr(item, "name")}
    return {}


def _distribution(key: str, axis: Range | Choices, kind: type[int] | type[float] | None) -> BaseDistribution:
    if isinstance(axis, Choices):
        # Optuna keeps no lists; the text stands for the value.
        return CategoricalDistribution([json.dumps(choice) for choice in axis.choices])
    if kind is None:
        raise UsageError(f"tuning.space: '{key}' takes no numbers, so low and high do not suit it; give choices: [...]")
    if kind is float:
        return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)
    step = 1.0 if axis.step is None else axis.step
    for name, number in (("low", axis.low), ("high", axis.high), ("step", step)):
        if not number.is_integer():
            raise UsageError(f"tuning.space: '{key}' takes whole numbers; received {name}: {number:g}")
    return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(step))


def _values_to_check(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return [json.loads(str(choice)) for choice in distribution.choices]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low, distribution.high]
