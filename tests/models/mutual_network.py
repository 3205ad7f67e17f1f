# SPDX-License-Identifier: Apache-2.0
"""A small network with mutual towers, for the tests of these."""

import numpy as np
import tf_keras as keras

from tests.models.small_model import small_batch, small_experiment, small_metadata
from tf_crossdistil.models.methods import method_of
from tf_crossdistil.models.ranking_network import RankingNetwork

STUDENTS = ["finish", "like"]
TEACHERS = ["finish+", "like+"]
# Time goes by the feature.
FEATURE = [{"name": "user", "kind": "categorical", "dim": 4}]
COLUMNS = {"user": small_batch()["features"]["user"]}
BOTH = {"features": "ctfm", "distillation": "gkd"}
WITH_TEACHERS = BOTH | {"teachers": True}


def made(mutual, backbone="shared_bottom", precision="float32", xla=False, method="crossdistil", tasks=STUDENTS, **model):
    """A network with random weights, its biases too."""
    experiment = small_experiment(
        tasks=[{"name": task, "column": task} for task in tasks],
        features=FEATURE,
        model={"backbone": backbone, "experts": {"units": [8]}, "towers": [6], "mutual": mutual} | model,
        distillation={"method": method},
    )
    keras.utils.set_random_seed(3)
    network = RankingNetwork(experiment, small_metadata(experiment), method_of(experiment), precision, xla)
    network(COLUMNS)
    generator = np.random.default_rng(3)
    for variable in network.trainable_variables:
        variable.assign(generator.normal(size=variable.shape, scale=0.5))
    return network
