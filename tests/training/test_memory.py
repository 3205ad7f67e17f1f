# SPDX-License-Identifier: Apache-2.0
"""A process that trains many models holds none of those that are done."""

import gc

import pytest
import tensorflow as tf

from tf_crossdistil.comparison.cells import release_memory
from tf_crossdistil.config import Experiment
from tf_crossdistil.training.trainer import train


def variables_alive() -> int:
    """How many handles of variables Python or a traced graph still has, though nobody may reach the variables themselves."""
    tensor = type(tf.constant(0))
    return sum(isinstance(it, tensor) and it.dtype == tf.resource for it in gc.get_objects())


@pytest.mark.parametrize("frozen", [False, True], ids=["trained tables", "frozen tables"])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_training_that_is_done_leaves_no_variables_behind(
    small_experiment, prepared, quiet_console, tmp_path, precision, frozen
):
    settings = small_experiment.model_dump(mode="json")
    settings["training"] |= {"epochs": 1, "precision": precision}
    if frozen:
        # Nothing is sparse then, and gradients are summed by other operations.
        settings["features"] = [
            feature | ({"trainable": False} if "trainable" in feature else {}) for feature in settings["features"]
        ]
    experiment = Experiment.model_validate(settings)
    assert experiment.distillation.method == "crossdistil"
    alive = []
    for number in range(2):
        release_memory()
        train(experiment, prepared, tmp_path / str(number), quiet_console)
        assert variables_alive() > 0
        release_memory()
        alive.append(variables_alive())
    assert alive[1] <= alive[0]
