"""The calibrators that configurations can name."""

from tf_crossdistil.calibrators.base import Calibrator
from tf_crossdistil.calibrators.piecewise_linear import PiecewiseLinear
from tf_crossdistil.calibrators.platt import PlattScaling
from tf_crossdistil.calibrators.temperature import TemperatureScaling
from tf_crossdistil.plugins import find_plugin

CALIBRATORS: dict[str, type[Calibrator]] = {
    "platt": PlattScaling,
    "temperature": TemperatureScaling,
    "piecewise_linear": PiecewiseLinear,
}


def find_calibrator(name: str) -> type[Calibrator]:
    """The calibrator of that name, or the user's own where the name is `package.module:Class`.

    Raises:
        UsageError: there is none.
    """
    return find_plugin("distillation.calibration", name, CALIBRATORS, Calibrator)
