# SPDX-License-Identifier: Apache-2.0
"""Ids of values, against TensorFlow's hash for those outside the vocabulary."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.encoding import lookup
from pipelines.encoding.lookup import Lookup


@pytest.mark.parametrize("oov_buckets", [1, 7])
def test_ids(oov_buckets: int) -> None:
    known = pa.array([f"value {row}" for row in range(1000)])
    unseen = [f"unseen {row}" for row in range(100)]
    ids = Lookup(known, oov_buckets).ids(pa.array([*unseen, "", *reversed(known.to_pylist())]))
    outside = tf.strings.to_hash_bucket_fast(tf.constant(unseen), oov_buckets).numpy() + 1001
    np.testing.assert_array_equal(ids, [*outside, 0, *range(1000, 0, -1)])


def test_values_of_one_fingerprint_keep_their_own_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "fingerprint64", lambda values: np.full(len(values), 3, np.uint64))
    ids = Lookup(pa.array(["a", "b", "c"]), 2).ids(pa.array(["c", "a", "d", "b", ""]))
    assert ids.tolist() == [3, 1, 4 + 3 % 2, 2, 0]
