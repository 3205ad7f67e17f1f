# SPDX-License-Identifier: Apache-2.0
"""The same step from the same state gives the same numbers every time."""

import numpy as np
import tensorflow as tf

from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.run import build
from tf_crossdistil.training.determinism import make_deterministic
from tf_crossdistil.training.optimizers import composite_optimizer


def test_teachers_are_read_before_they_are_updated(small_experiment, prepared):
    """Without what `make_deterministic` sets, most of these repetitions differ: an update overtakes the forward pass."""
    # Without dropout there is less to do before the race, which is then lost more often.
    network = small_experiment.model.model_copy(update={"dropout": 0.0})
    experiment = small_experiment.model_copy(update={"model": network})
    make_deterministic(experiment.training.seed)
    model = CrossDistilModel(experiment, prepared.metadata)
    build(model, experiment)
    model.compile(optimizer=composite_optimizer(model, experiment.training))
    batches = list(TrainingBatches(prepared, experiment, True, 1).epoch(1))
    step = tf.function(model.train_step)
    step(batches[0])
    calibration = model.calibration
    variables = [
        *model.network.variables,
        *model.optimizer.variables(),
        *calibration.calibrator.variables,
        *calibration.optimizer.variables(),
    ]
    state = [variable.numpy() for variable in variables]

    def trained() -> list[np.ndarray]:
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)
        for batch in batches:
            step(batch)
        return [variable.numpy() for variable in variables]

    first = trained()
    assert any(not np.array_equal(before, after) for before, after in zip(state, first, strict=True))
    for _ in range(8):
        for value, again in zip(first, trained(), strict=True):
            np.testing.assert_array_equal(value, again)
