# SPDX-License-Identifier: Apache-2.0
"""What is refused before a training, a comparison or a search writes anything."""

from collections.abc import Callable

from tf_crossdistil.calibrators.registry import find_calibrator
from tf_crossdistil.config import EarlyStopping, Experiment
from tf_crossdistil.data.label_exchange import check_label_exchange
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.losses.student_losses import find_student_loss
from tf_crossdistil.models.methods import method_of
from tf_crossdistil.models.ranking_network import check_network
from tf_crossdistil.schema import Metadata, PreparedData, SplitRates, check_config_matches

# By metric: of what rows it needs some in one task at least, and whether there are such.
_BOTH_LABELS = "rows of both labels", lambda rates: any(0 < share < 1 for share in rates.positive.values())
_NEEDS: dict[str, tuple[str, Callable[[SplitRates], bool]]] = {
    "auc": _BOTH_LABELS,
    "multi_auc": _BOTH_LABELS,
    "log_loss": ("rows with a label of 0 or 1", lambda rates: bool(rates.positive)),
    "mse": ("rows with a number as label", lambda rates: bool(rates.mean)),
}


def check_trainable(experiment: Experiment, data: PreparedData) -> None:
    """Refuses a configuration that could only fail later.

    Raises:
        UsageError: it names what does not exist.
        CrossDistilError: the data was prepared with another configuration, or has no validation rows, or none that define the
            metric by which the best epoch is chosen, or labels are to be exchanged that cannot be.
    """
    check_config_matches(experiment, data.metadata)
    if not data.rows("validation"):
        raise CrossDistilError("the data has no validation rows, which choose what is best; check 'split' in its configuration")
    check_defined(
        "training.early_stopping.metric", (experiment.training.early_stopping or EarlyStopping()).metric, data.metadata
    )
    check_label_exchange(experiment, data)
    check_network(experiment, data.metadata)
    method_of(experiment)
    find_calibrator(experiment.distillation.calibration)
    find_student_loss(experiment.training.loss)


def check_defined(key: str, metric: str, metadata: Metadata) -> None:
    """Refuses to choose by a metric that is undefined on the validation split.

    Args:
        key: of the configuration, which names the metric.
        metric: one of `Selection.metric`.
        metadata: of the prepared data.

    Raises:
        CrossDistilError: no task has such rows there as it needs.
    """
    rates = metadata.rates["validation"]
    needed, is_defined = _NEEDS[metric]
    if not is_defined(rates):
        others = " or ".join(name for name, (_, is_other_defined) in _NEEDS.items() if is_other_defined(rates))
        mend = f"set {key} to {others}, or prepare" if others else "prepare"
        raise CrossDistilError(
            f"{key}: {metric}, by which the best is chosen, is undefined on the validation split, where no task has {needed}; "
            f"{mend} data whose validation split has them (see 'split' in its configuration)"
        )
