# SPDX-License-Identifier: Apache-2.0
"""Training that broke down: losses or weights that are infinite or undefined."""

import math
from pathlib import Path

import tensorflow as tf

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.models.crossdistil import CrossDistilModel


class DivergedError(CrossDistilError):
    """A loss or weight became infinite or undefined, as it would again with the same seed.

    Args:
        fault: which, and when.
        kept: the newest checkpoint, written before; None where there is none.
    """

    def __init__(self, fault: str, kept: Path | None = None):
        checkpoint = "no checkpoint was written before" if kept is None else f"the last good checkpoint is {kept}"
        super().__init__(
            f"{fault}; {checkpoint}; lower training.learning_rate or training.embedding_learning_rate and train again, in "
            "another --run"
        )
        self.fault = fault


def fault_in_losses(losses: dict[str, float]) -> str | None:
    """Which loss is infinite or undefined, in words; None where all are finite."""
    # The sum is infinite whenever a part is, which says less.
    for name, value in sorted(losses.items(), key=lambda loss: loss[0] == "loss"):
        if not math.isfinite(value):
            return f"the loss '{name}' became {value}"
    return None


def fault_in_weights(model: CrossDistilModel) -> str | None:
    """Which variable has infinite or undefined values, in words: the step after would show it in a loss."""
    for variable in [*model.network.weights, *model.calibration.calibrator.variables]:
        # A sum needs no copy of a table, and is computed where the table is.
        with tf.device(variable.device):
            total = float(tf.reduce_sum(tf.cast(variable, tf.float32) if variable.dtype.is_integer else variable))
        if not math.isfinite(total):
            return f"the weights '{variable.name}' became {total}"
    return None
