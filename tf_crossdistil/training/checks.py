"""What is refused before a training, a comparison or a search writes anything."""

from tf_crossdistil.calibrators.registry import find_calibrator
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.losses.student_losses import find_student_loss
from tf_crossdistil.models.methods import method_of
from tf_crossdistil.models.ranking_network import check_network
from tf_crossdistil.schema import PreparedData, check_config_matches


def check_trainable(experiment: Experiment, data: PreparedData) -> None:
    """Refuses a configuration that could only fail later.

    Raises:
        UsageError: it names what does not exist.
        CrossDistilError: the data was prepared with another configuration, or has no validation rows.
    """
    check_config_matches(experiment, data.metadata)
    if not data.rows("validation"):
        raise CrossDistilError("the data has no validation rows, which choose what is best; check 'split' in its configuration")
    check_network(experiment, data.metadata)
    method_of(experiment)
    find_calibrator(experiment.distillation.calibration)
    find_student_loss(experiment.training.loss)
