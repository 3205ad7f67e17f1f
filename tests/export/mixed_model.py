# SPDX-License-Identifier: Apache-2.0
"""A small model with a regression task between two binary ones."""

import numpy as np
import tf_keras as keras

from tests.models.small_model import small_experiment, small_metadata
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.run import build
from tf_crossdistil.schema import NumericStatistics

FINISH, LIKE = {"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}
SECONDS = {"name": "seconds", "column": "play_time", "kind": "regression"}
TASKS = [FINISH, SECONDS, LIKE]
# Values are large and of both signs: few of them agree to an absolute 1e-6, and some lie near 0.
LABEL = NumericStatistics(count=90, missing=10, mean=21437.5, deviation=30112.25, minimum=0, maximum=937123)
# Tracing costs by the feature; others are in the shared export.
FEATURES = [
    {"name": "user", "kind": "categorical", "dim": 3},
    {"name": "duration", "kind": "numeric", "transform": "standardize"},
]


def mixed_model(label=LABEL, **sections):
    """A model with random weights, and its configuration; by default as small as can be."""
    experiment = small_experiment(
        **{"tasks": TASKS, "features": FEATURES, "model": {"backbone": "shared_bottom", "towers": [6]}} | sections
    )
    metadata = small_metadata(experiment)
    metadata = metadata.model_copy(update={"numeric": metadata.numeric | dict.fromkeys(experiment.regression_names, label)})
    keras.utils.set_random_seed(3)
    model = CrossDistilModel(experiment, metadata)
    build(model, experiment)
    generator = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(scale=0.5, size=variable.shape))
    return model, experiment
