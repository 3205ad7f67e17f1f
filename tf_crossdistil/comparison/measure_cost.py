# SPDX-License-Identifier: Apache-2.0
"""Measures what training steps cost, in the process of their own that `tf_crossdistil.comparison.costs` starts for each method.

python -m tf_crossdistil.comparison.measure_cost DATA < EXPERIMENT.json

The last line of the output is the `Cost` as JSON; after a failure, the last line of the errors is a sentence that says why.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import tensorflow as tf

from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.config import Experiment
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.models.crossdistil import CrossDistilModel, build
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.determinism import make_deterministic
from tf_crossdistil.training.optimizers import composite_optimizer

_WARM_UP_STEPS, _TIMED_STEPS = 10, 40
_STATUS = Path("/proc/self/status")


def measure(experiment: Experiment, data: PreparedData) -> Cost:
    """What the steps of a training on one device cost, as a new process finds it.

    Reading, validation and checkpoints are not in it. Of a peak of memory before this call it would know nothing.
    """
    settings = experiment.training
    make_deterministic(settings.seed)
    model = CrossDistilModel(experiment, data.metadata, settings.precision, settings.xla)
    build(model, experiment)
    model.compile(optimizer=composite_optimizer(model, settings))
    batches = TrainingBatches(data, experiment, with_strata=model.method.teachers == "ranking").epoch(1)
    # One trace, whatever the lengths of lists in a batch, as in training.
    step = tf.function(model.train_step, input_signature=[batches.element_spec], autograph=False)
    # In memory, so that reading them takes no part.
    elements = list(batches.take(_WARM_UP_STEPS + _TIMED_STEPS))
    seconds = [_processor_seconds(step, batch) for batch in islice(cycle(elements), _WARM_UP_STEPS + _TIMED_STEPS)]
    memory = peak_mebibytes()
    calibrator = model.calibration.calibrator.trainable_variables if model.method.trains_calibration else []
    return Cost(
        step_milliseconds=round(1000 * median(seconds[_WARM_UP_STEPS:]), 3),
        parameters=_count([*model.trainable_variables, *calibrator]),
        served_parameters=_count(_student_variables(model, batches.element_spec["features"])),
        memory_mebibytes=round(memory, 1),
    )


def peak_mebibytes() -> float:
    """The largest resident memory of this process so far."""
    if _STATUS.exists():
        # Linux gives `ru_maxrss` on from the process that started this one, which may have been larger.
        kibibytes = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"))
        assert kibibytes is not None
        return int(kibibytes[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _processor_seconds(step: Any, batch: dict[str, Any]) -> float:
    start = time.process_time()
    # Reading a value waits for the step.
    float(step(batch)["loss"])
    return time.process_time() - start


def _student_variables(model: CrossDistilModel, features: dict[str, tf.TensorSpec]) -> Sequence[tf.Variable]:
    """What students read, as an export keeps it."""
    students = tf.function(lambda columns: model.network(columns, tasks=model.experiment.task_names, training=False))
    variables: Sequence[tf.Variable] = students.get_concrete_function(features).variables
    return variables


def _count(variables: Sequence[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() for variable in variables)


def main() -> None:
    """Measures, and prints what came of it."""
    try:
        cost = measure(Experiment.model_validate_json(sys.stdin.read()), PreparedData.open(sys.argv[1]))
    except Exception as error:
        # The user's own code may fail in any way.
        message = str(error) if isinstance(error, CrossDistilError) else f"{type(error).__name__}: {error}"
        sys.exit(" ".join(message.split()))
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
