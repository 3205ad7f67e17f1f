# SPDX-License-Identifier: Apache-2.0
"""Numeric transforms, the package's and the user's own."""

import numpy as np
import pytest
import tensorflow as tf

from tf_crossdistil.config import NumericFeature
from tf_crossdistil.config.features import NUMERIC_TRANSFORMS as NAMES
from tf_crossdistil.errors import UsageError
from tf_crossdistil.layers.numeric import NUMERIC_TRANSFORMS, check_numeric_transform, find_numeric_transform
from tf_crossdistil.schema import NumericStatistics

NUMBERS = np.array([-3.5, 0.0, 0.25, 1e6], np.float32)
STATISTICS = NumericStatistics(count=4, missing=0, mean=2.5, deviation=4.0, minimum=-3.5, maximum=1e6)

OWN = """
import tensorflow as tf
from tf_crossdistil.layers.numeric import NumericTransform

class Waves(NumericTransform):
    def call(self, inputs):
        return tf.stack([tf.sin(inputs / self.statistics.mean), tf.cos(inputs)], axis=1)

class Flat(NumericTransform):
    def call(self, inputs):
        return inputs

class Broken(NumericTransform):
    def call(self, inputs):
        return inputs @ inputs

class Needy(NumericTransform):
    def __init__(self, feature):
        super().__init__(feature, None)

class Other:
    pass
"""


@pytest.fixture
def own_transforms(tmp_path, monkeypatch):
    (tmp_path / "own_transforms.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)


def feature(transform):
    return NumericFeature(name="x", kind="numeric", transform=transform)


def test_configuration_and_registry_know_the_same_names():
    assert tuple(NUMERIC_TRANSFORMS) == NAMES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", NUMBERS),
        ("log1p", [-np.log(4.5), 0, np.log(1.25), np.log(1e6 + 1)]),
        ("standardize", (NUMBERS.astype(np.float64) - 2.5) / 4),
    ],
)
def test_transform_is_its_equation(name, expected):
    layer = find_numeric_transform(feature(name))(feature(name), STATISTICS)
    np.testing.assert_allclose(layer(tf.constant(NUMBERS)), np.reshape(expected, (4, 1)), rtol=1e-6)


def test_a_constant_is_standardised_to_zero():
    constant = STATISTICS.model_copy(update={"deviation": 0.0})
    layer = find_numeric_transform(feature("standardize"))(feature("standardize"), constant)
    np.testing.assert_array_equal(layer(tf.constant([2.5])), [[0.0]])


def test_a_transform_of_the_user(own_transforms):
    own = feature("own_transforms:Waves")
    check_numeric_transform(own, STATISTICS)
    layer = find_numeric_transform(own)(own, STATISTICS)
    np.testing.assert_allclose(layer(tf.constant(NUMBERS[:3])), np.stack([np.sin(NUMBERS / 2.5), np.cos(NUMBERS)], 1)[:3], 1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Flat", r"must map numbers \[rows\] to \[rows, width\]; received \[2\]"),
        ("Broken", r"fails on numbers \[2\]: InvalidArgumentError"),
        ("Needy", r"fails on numbers \[2\]: TypeError.*Class\(feature, statistics\)"),
        ("Other", "is no subclass of tf_crossdistil.layers.numeric.NumericTransform"),
        ("Missing", "cannot be imported"),
    ],
)
def test_what_is_no_transform_is_refused_in_one_line(own_transforms, name, message):
    with pytest.raises(UsageError, match=message) as raised:
        check_numeric_transform(feature(f"own_transforms:{name}"), STATISTICS)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("features.x.transform: ")


@pytest.mark.parametrize(("name", "hint"), [("logp1", "did you mean 'log1p'"), ("zzz", "none, log1p, standardize, bucketize")])
def test_a_transform_that_does_not_exist(name, hint):
    with pytest.raises(ValueError, match=f"there is no '{name}'; .*{hint}"):
        feature(name)
