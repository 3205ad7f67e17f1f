# SPDX-License-Identifier: Apache-2.0
"""What training a method costs: time of a step, parameters, memory."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tf_crossdistil.comparison.cells import read_json
from tf_crossdistil.config import Experiment
from tf_crossdistil.local_files import write_json
from tf_crossdistil.schema import PreparedData

logger = logging.getLogger(__name__)

# Takes the experiment as JSON on its input and the data's folder as argument.
_COMMAND = [sys.executable, "-m", "tf_crossdistil.comparison.measure_cost"]

# Of `training`, what says nothing of a step.
_FREE = {"seed", "epochs", "early_stopping", "checkpoints"}


@dataclass(frozen=True)
class Cost:
    """Of one method.

    Attributes:
        step_milliseconds: processor time of a training step, the median over steps.
        parameters: numbers that are trained.
        served_parameters: those of the students, which an export has.
        memory_mebibytes: the largest resident memory of a process that trains some steps.
    """

    step_milliseconds: float
    parameters: int
    served_parameters: int
    memory_mebibytes: float


def measure_costs(experiments: Mapping[str, Experiment], data: PreparedData, file: Path) -> dict[str, Cost]:
    """Measures each method in a process of its own, one after another; those that the file has already are taken from it.

    A method whose measurement fails has no cost; a warning says why. What the file has of a method with another configuration
    or other data is measured anew.

    Args:
        experiments: what to train, by the method's name.
        data: what is trained on.
        file: `{method: {"digest", ...}}`, with the attributes of each `Cost`; written after each measurement.

    Raises:
        CrossDistilError: the file is damaged, or cannot be written.
    """
    costs = kept_costs(experiments, data, file)
    for method, experiment in experiments.items():
        if method not in costs and (cost := _measured(method, experiment, data)) is not None:
            costs[method] = cost
            # Read anew, since another call may have added to it.
            write_json(file, _content(file) | {method: {"digest": _digest(experiment, data)} | asdict(cost)})
    return {method: costs[method] for method in experiments if method in costs}


def kept_costs(experiments: Mapping[str, Experiment], data: PreparedData, file: Path) -> dict[str, Cost]:
    """What the file of `measure_costs` has already of methods with their configuration and data.

    Raises:
        CrossDistilError: the file is damaged.
    """
    content = _content(file)
    found = {method: _kept_cost(content.get(method), _digest(experiment, data)) for method, experiment in experiments.items()}
    return {method: cost for method, cost in found.items() if cost is not None}


def _content(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _digest(experiment: Experiment, data: PreparedData) -> str:
    """Of all that a cost depends on, but for the machine."""
    settings = experiment.model_dump(mode="json", exclude={"training": _FREE})
    content = [settings, data.metadata.run, data.metadata.schema_hash]
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _kept_cost(entry: Any, digest: str) -> Cost | None:
    """The cost of an entry of the file; None where it is of something else, or none."""
    if not isinstance(entry, dict) or entry.get("digest") != digest:
        return None
    try:
        return Cost(**{name: value for name, value in entry.items() if name != "digest"})
    except TypeError:
        return None


def _measured(method: str, experiment: Experiment, data: PreparedData) -> Cost | None:
    command = [*_COMMAND, str(data.directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, errors = process.communicate(experiment.model_dump_json())
        finally:
            # After Ctrl-C it would go on alone.
            process.kill()
            process.wait()
    try:
        if process.returncode:
            raise ValueError(_reason(process.returncode, errors))
        # The user's own code may print, too.
        return Cost(**json.loads(output.splitlines()[-1]))
    except (ValueError, TypeError, IndexError) as error:
        logger.warning(f"the cost of {method} is unknown, since its measurement failed: {error}")
        return None


def _reason(code: int, errors: str) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    lines = errors.strip().splitlines()
    return lines[-1] if lines else f"its process ended with exit code {code}"
