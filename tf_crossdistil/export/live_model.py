# SPDX-License-Identifier: Apache-2.0
"""What the trained model itself says about raw rows: what served answers are compared with."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.run import Run
from tf_crossdistil.models.run_vocabularies import checked_vocabularies


def live_answers(run: Run, rows: list[dict[str, Any]], model: CrossDistilModel | None = None) -> dict[str, NDArray[np.float32]]:
    """The answers `[rows]` by task of a run's best epoch, with students and teachers computed together: the probability of a
    binary task, the value of a regression task in its label's units.

    Args:
        run: a training run.
        rows: raw features by name, every one of them.
        model: that of the best epoch, if it is loaded already.

    Raises:
        CrossDistilError: a vocabulary is not the one that the run was trained with.
    """
    # A GPU may round products to fewer bits than what is served does.
    with tf.device("/CPU:0"):
        model = run.load_best() if model is None else model
        lookup = FeatureLookup(run.experiment, checked_vocabularies(run))
        logits = model(lookup(raw_columns(run.experiment, rows)), training=False)
        return {task: model.task_outputs.answer(task, logits[task]).numpy() for task in run.experiment.task_names}
