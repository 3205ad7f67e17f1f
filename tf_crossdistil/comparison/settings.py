# SPDX-License-Identifier: Apache-2.0
"""The points of a grid of configuration values, among which a comparison chooses for each method."""

import itertools
import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import to_jsonable_python

from tf_crossdistil.config import Experiment, duplicates
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import UsageError

# What the comparison itself sets, and the option that says to what.
_OWN_KEYS = {"training.seed": "--seeds", "distillation.method": "--methods"}
_NAMED_KEYS = ("model.backbone", "model.mutual", "model.mutual.features", "model.mutual.distillation")


@dataclass(frozen=True)
class Setting:
    """A point of the grid: the tuned `values` by key of the configuration, and the experiment that has them."""

    values: dict[str, Any]
    experiment: Experiment

    def __str__(self) -> str:
        return ",".join(f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in self.values.items())

    @property
    def folder(self) -> str:
        """What its folder is called; TensorFlow takes brackets in the path of a checkpoint for a pattern."""
        text = str(self) or "default"
        return text if re.fullmatch(r"[A-Za-z0-9_.,=+-]{1,150}", text) else sha256(text.encode()).hexdigest()[:16]


def grid(config: Path, overrides: list[str], tune: list[str], option: str = "--tune") -> list[Setting]:
    """The product of all tuned values; one setting without values where nothing is tuned.

    Args:
        config: the configuration file.
        overrides: `KEY=VALUE`, in every setting.
        tune: `KEY=VALUE,VALUE,...`, each a further dimension of the grid.
        option: that gave `tune`, for errors.

    Raises:
        UsageError: an override, a key or a value cannot be, or is there twice.
    """
    axes = [_axis(text, option) for text in tune]
    keys = [key for key, _ in axes]
    for giver, used, own in (
        ("--set", [text.partition("=")[0] for text in overrides], _OWN_KEYS),
        (option, keys, _OWN_KEYS | dict.fromkeys(_NAMED_KEYS, "--methods")),
    ):
        for key in own.keys() & used:
            raise UsageError(f"{giver} cannot change {key}, which {own[key]} gives")
    if twice := duplicates(keys):
        raise UsageError(f"{option} has '{twice[0]}' twice; list all its values behind one")
    settings: list[Setting] = []
    for texts in itertools.product(*(values for _, values in axes)):
        chosen = [f"{key}={text}" for key, text in zip(keys, texts, strict=True)]
        experiment = load_config(config, [*overrides, *chosen])
        setting = Setting({key: value_at(experiment, key) for key in keys}, experiment)
        # Written differently, values may still be the same, such as 0.001 and 1e-3.
        if setting in settings:
            raise UsageError(f"{option} has the same values twice: {setting}")
        settings.append(setting)
    return settings


def _axis(text: str, option: str) -> tuple[str, list[str]]:
    """A key and its values as YAML; a value may be a list, whose commas divide nothing."""
    key, _, listed = text.partition("=")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except (yaml.YAMLError, ValueError):
        values = None
    if not isinstance(values, list) or not values or not all(key.split(".")):
        raise UsageError(f"{option} needs KEY=VALUE,VALUE,... such as training.learning_rate=0.001,0.003; received '{text}'")
    return key, [yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip() for value in values]


def value_at(experiment: Experiment, key: str) -> Any:
    """The value that the validated configuration has at a key; None where its section is not there."""
    value: Any = experiment
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return to_jsonable_python(value)
