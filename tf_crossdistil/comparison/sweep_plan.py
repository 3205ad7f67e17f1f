# SPDX-License-Identifier: Apache-2.0
"""What `--sweep` asks for: keys of the configuration, their values, and with which methods and seeds they are tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_crossdistil.comparison.settings import Setting, grid, value_at
from tf_crossdistil.errors import UsageError


@dataclass(frozen=True)
class Axis:
    """The values of a key that are to be tried.

    Attributes:
        key: of the configuration.
        configured: the configuration's own value.
        settings: one a value, the configured one not among them.
    """

    key: str
    configured: Any
    settings: list[Setting]


@dataclass(frozen=True)
class SweepPlan:
    """What to sweep: every axis, with each of the `methods` and `seeds`; empty `methods` mean the configuration's own."""

    axes: Sequence[Axis] = ()
    methods: Sequence[str] = ()
    seeds: Sequence[int] = ()


def sweep_plan(
    config: Path,
    overrides: list[str],
    texts: Sequence[str],
    settings: Sequence[Setting],
    methods: Sequence[str],
    seeds: Sequence[int],
    compared_seeds: Sequence[int],
) -> SweepPlan:
    """The plan of the sweeps; whether its methods are compared is seen where methods are known.

    Args:
        config: the configuration file.
        overrides: `KEY=VALUE`, in every setting.
        texts: `KEY=VALUE,VALUE,...` each.
        settings: of the comparison itself.
        methods: those of `--sweep-methods`.
        seeds: those of `--sweep-seeds`; without any, all.
        compared_seeds: those of the comparison itself.

    Raises:
        UsageError: a key or value cannot be, or is there twice; the comparison has several settings, or lacks a seed.
    """
    if texts and len(settings) > 1:
        raise UsageError("--sweep goes from one setting, and --tune gives several; give the chosen values with --set")
    check_among("seeds", seeds, compared_seeds)
    return SweepPlan(_axes(config, overrides, texts, settings[0]), methods, seeds or compared_seeds)


def check_among(name: str, swept: Sequence[str] | Sequence[int], compared: Sequence[str] | Sequence[int]) -> None:
    """Refuses methods or seeds of a sweep that are not compared.

    Raises:
        UsageError: one is not.
    """
    if others := [str(item) for item in swept if item not in compared]:
        raise UsageError(
            f"--sweep-{name}: {others[0]} is not among --{name}, whose results are a part of every sweep; such are "
            f"{', '.join(map(str, compared))}"
        )


def _axes(config: Path, overrides: list[str], texts: Sequence[str], setting: Setting) -> list[Axis]:
    found: list[Axis] = []
    for text in texts:
        settings = grid(config, overrides, [text], "--sweep")
        (key,) = settings[0].values
        if key in [axis.key for axis in found]:
            raise UsageError(f"--sweep has '{key}' twice; list all its values behind one")
        configured = value_at(setting.experiment, key)
        found.append(Axis(key, configured, [other for other in settings if other.experiment != setting.experiment]))
    return found
