"""What training a method costs: time of a step, parameters, memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import PreparedData


@dataclass(frozen=True)
class Cost:
    """Of one method.

    Attributes:
        step_milliseconds: processor time of a training step, the median over steps.
        parameters: numbers that are trained.
        served_parameters: those of the students, which an export has.
        memory_mebibytes: the largest resident memory of the training process.
    """

    step_milliseconds: float
    parameters: int
    served_parameters: int
    memory_mebibytes: float


def measure_costs(experiments: Mapping[str, Experiment], data: PreparedData, file: Path) -> dict[str, Cost]:
    """Measures each method in a process of its own, one after another; those that the file has already are taken from it."""
    raise NotImplementedError
