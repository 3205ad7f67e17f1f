# SPDX-License-Identifier: Apache-2.0
"""Feature interactions against NumPy, and what becomes of their variables in training, checkpoints and export."""

from itertools import combinations
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.conftest import CONTENT, request_rows
from tests.export.asking import load_signature
from tests.models.small_model import small_batch, small_experiment, small_model
from tf_crossdistil.config import Model
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.errors import UsageError
from tf_crossdistil.export.served_model import ServedModel
from tf_crossdistil.layers.interaction import INTERACTIONS, make_interaction
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.ranking_network import EVERY_TASK, check_network
from tf_crossdistil.models.run import build, weights_checkpoint
from tf_crossdistil.schema import Metadata

ALIKE: list[dict[str, Any]] = [
    {"name": "user", "kind": "categorical", "dim": 2},
    {"name": "author", "kind": "hashed", "buckets": 4, "dim": 2},
    {"name": "duration", "kind": "numeric", "transform": "standardize"},
    {"name": "tags", "kind": "multi_value", "dim": 2, "weights": "w"},
    {"name": "friends", "kind": "multi_value", "share_with": "user", "pooling": "sum"},
    {"name": "age", "kind": "numeric", "transform": "bucketize", "boundaries": [1.5, 4.0], "dim": 2},
]
EMBEDDED = ["user", "author", "tags", "friends", "age"]


def concatenated(vectors, layer):
    return np.concatenate([vectors[feature["name"]] for feature in ALIKE], axis=1)


def cross(vectors, layer):
    x = concatenated(vectors, layer)
    kernel, bias = (variable.numpy() for variable in layer.variables)
    return x * (x @ kernel + bias) + x


def multi_layer_dcn(vectors, layer):
    x = start = concatenated(vectors, layer)
    by_shape = {rank: [v.numpy() for v in layer.variables if v.shape.rank == rank] for rank in (1, 2)}
    down = [kernel for kernel in by_shape[2] if kernel.shape == (11, 2)]
    up = [kernel for kernel in by_shape[2] if kernel.shape == (2, 11)]
    for u, v, bias in zip(down, up, by_shape[1], strict=True):
        x = start * (x @ u @ v + bias) + x
    return x


def dot(vectors, layer):
    products = {(i, j): np.sum(vectors[i] * vectors[j], axis=1) for j, i in combinations(EMBEDDED, 2)}
    ordered = [products[first, second] for row, first in enumerate(EMBEDDED) for second in EMBEDDED[:row]]
    return np.concatenate([concatenated(vectors, layer), np.stack(ordered, axis=1)], axis=1)


ORACLES = {"none": concatenated, "cross": cross, "multi_layer_dcn": multi_layer_dcn, "dot": dot}


def test_every_interaction_has_an_oracle_and_a_place_in_the_configuration():
    assert ORACLES.keys() == INTERACTIONS.keys() == set(get_args(Model.model_fields["interaction"].annotation))


@pytest.mark.parametrize("name", INTERACTIONS)
def test_interaction_is_its_equation(name):
    model, _ = small_model(features=ALIKE, model={"interaction": name})
    layer = model.network.interactions[EVERY_TASK]
    vectors = model.network.encoders[EVERY_TASK](small_batch()["features"])
    expected = ORACLES[name]({key: value.numpy().astype(np.float64) for key, value in vectors.items()}, layer)
    assert expected.shape[1] == (21 if name == "dot" else 11)
    np.testing.assert_allclose(layer(vectors), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kernels", "backbone", "owners"), [("cross", 2, "shared_bottom", 1), ("multi_layer_dcn", 9, "single", 2)]
)
def test_kernels_are_dense_variables_that_train_and_are_kept(tmp_path, name, kernels, backbone, owners):
    sections: dict[str, Any] = {
        "model": {"interaction": name, "backbone": backbone},
        "distillation": {"method": "none"},
        "features": ALIKE,
    }
    model, _ = small_model(**sections)
    own = [variable for layer in model.network.interactions.values() for variable in layer.trainable_variables]
    assert len(own) == kernels * owners
    assert {v.ref() for v in own} <= {v.ref() for v in model.dense_variables}
    assert len(model.embedding_variables) == 4 * owners
    before = [variable.numpy() for variable in own]
    model.train_step(small_batch(draws=0))
    assert all(np.any(variable != was) for variable, was in zip(own, before, strict=True))
    path = weights_checkpoint(model).write(str(tmp_path / "weights"))
    other, _ = small_model(seed=9, **sections)
    weights_checkpoint(other).read(path).assert_existing_objects_matched()
    features = small_batch()["features"]
    for task, logits in model(features).items():
        np.testing.assert_array_equal(other(features)[task], logits)


@pytest.mark.parametrize("name", ["multi_layer_dcn", pytest.param("dot", marks=pytest.mark.slow)])
def test_exported_interaction_answers_as_the_live_one(tmp_path, prepared, raw_rows, name):
    alike = [
        feature | {"dim": 3} if "dim" in feature or "boundaries" in feature else feature for feature in CONTENT["features"]
    ]
    settings = {"interaction": name, "towers": [4], "experts": {"units": [8]}, "backbone": "shared_bottom"}
    experiment = parse_config(CONTENT | {"features": alike, "model": settings, "distillation": {"method": "none"}}, "test")
    check_network(experiment, prepared.metadata)
    keras.utils.set_random_seed(0)
    model = CrossDistilModel(experiment, prepared.metadata)
    build(model, experiment)
    vocabularies = prepared.directory / "vocabulary"
    served = ServedModel(model, vocabularies)
    tf.saved_model.save(served, str(tmp_path), signatures=served.served_signatures)
    raw = raw_columns(experiment, request_rows(experiment, raw_rows[1][:20]))
    live = model(FeatureLookup(experiment, vocabularies)(raw))
    answers = load_signature(tmp_path)(**raw)
    for task in experiment.task_names:
        np.testing.assert_allclose(answers[task], tf.sigmoid(live[task]), rtol=1e-5)


@pytest.mark.parametrize(
    ("features", "named"),
    [
        (None, "user 3, author 2, tags 2, friends 3, age 2"),
        (ALIKE[:1], "user 2"),
        ([ALIKE[2]], "received the dims: none"),
    ],
)
def test_dot_products_need_features_of_one_dim(features, named):
    experiment = small_experiment(model={"interaction": "dot"}, **({"features": features} if features else {}))
    with pytest.raises(UsageError, match=named):
        make_interaction(experiment)


def test_an_unsuitable_interaction_is_told_before_a_run_starts(prepared, shared_experiment):
    experiment = parse_config(CONTENT | {"model": {"interaction": "dot"}}, "test")
    with pytest.raises(UsageError, match="'dim' of those features alike"):
        check_network(experiment, prepared.metadata)
    check_network(shared_experiment, Metadata.model_validate(prepared.metadata.model_dump()))
