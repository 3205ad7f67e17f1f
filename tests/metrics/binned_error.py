# SPDX-License-Identifier: Apache-2.0
"""The ECE of rows, as the metrics' functions of one call."""

import numpy as np

from tf_crossdistil.metrics.exact import calibration_bins, calibration_error


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """In 20 bins of equal mass."""
    return calibration_error(calibration_bins(labels, probabilities, weights))
