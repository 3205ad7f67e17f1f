# SPDX-License-Identifier: Apache-2.0
"""What every worker knows of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.runs.storage import RunPath
from pipelines.sources.blocks import InputRange
from tf_crossdistil.config import Experiment


@dataclass(frozen=True)
class Job:
    """What every worker knows: `run` is the directory of the run, `frozen` the run whose vocabulary it takes over.

    `attempt` is the token of the attempt at the run that the worker belongs to.
    """

    experiment: Experiment
    run: RunPath
    attempt: str
    ranges: tuple[InputRange, ...]
    max_bad_fraction: float
    frozen: RunPath | None = None
    global_shuffle: bool = False


def dealing_order(ranges: Sequence[InputRange], workers: int) -> list[InputRange]:
    """The heaviest ranges first, every second round of `workers` backwards.

    A runner that deals ranges out in turn gives every worker about the same weight then; one that hands them out on demand
    has small ones left for the end.
    """
    heaviest = sorted(ranges, key=lambda part: -part.weight)
    rounds = [heaviest[first : first + workers] for first in range(0, len(heaviest), workers)]
    return [part for number, dealt in enumerate(rounds) for part in (dealt[::-1] if number % 2 else dealt)]
