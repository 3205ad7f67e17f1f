# SPDX-License-Identifier: Apache-2.0
"""The calibrators that configurations can name."""

import numpy as np
import tensorflow as tf

from tf_crossdistil.calibrators.base import Calibrator
from tf_crossdistil.calibrators.piecewise_linear import PiecewiseLinear
from tf_crossdistil.calibrators.platt import PlattScaling
from tf_crossdistil.calibrators.temperature import TemperatureScaling
from tf_crossdistil.errors import UsageError
from tf_crossdistil.plugins import find_plugin

CALIBRATORS: dict[str, type[Calibrator]] = {
    "platt": PlattScaling,
    "temperature": TemperatureScaling,
    "piecewise_linear": PiecewiseLinear,
}


def find_calibrator(name: str) -> type[Calibrator]:
    """The calibrator of that name, or the user's own where the name is `package.module:Class`.

    Raises:
        UsageError: there is none, or it fails, or does not keep the order of rows.
    """
    calibrator = find_plugin("distillation.calibration", name, CALIBRATORS, Calibrator)
    try:
        calibrated = np.asarray(calibrator([0.4, 0.1])(tf.constant([[-2.0, -2.0], [0.0, 0.0], [3.0, 3.0]])))
    except Exception as error:
        # The user's own code may fail in any way.
        raise UsageError(
            f"distillation.calibration: '{name}' fails on three rows of two tasks: {type(error).__name__}: {error}; mend it"
        ) from error
    if calibrated.shape != (3, 2) or not (np.diff(calibrated, axis=0) > 0).all():
        raise UsageError(
            f"distillation.calibration: '{name}' must give logits [rows, tasks] that rise with its inputs; received "
            f"{calibrated.tolist()} for logits -2, 0 and 3 of two tasks"
        )
    return calibrator
