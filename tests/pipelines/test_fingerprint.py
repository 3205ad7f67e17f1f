# SPDX-License-Identifier: Apache-2.0
"""The hash equals TensorFlow's, which the exported graph uses."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.fingerprint import fingerprint64

BUCKETS = 2**63 - 25


def expected(values: list[bytes]) -> np.ndarray:
    return tf.strings.to_hash_bucket_fast(tf.constant(values, tf.string), BUCKETS).numpy()


def buckets(values: pa.Array) -> np.ndarray:
    return (fingerprint64(values) % np.uint64(BUCKETS)).astype(np.int64)


def test_every_length_equals_tensorflow() -> None:
    generator = np.random.default_rng(0)
    values = [generator.bytes(length) for length in [*range(301), *range(301), 1000, 4097]]
    np.testing.assert_array_equal(buckets(pa.array(values, pa.binary())), expected(values))


def test_unicode_equals_tensorflow() -> None:
    values = ["", "é", "日本語", "😀" * 9, "user 42", "\x1f", "a\x00b"]
    np.testing.assert_array_equal(buckets(pa.array(values)), expected([value.encode() for value in values]))


@pytest.mark.parametrize("rows", [0, 1, 8192, 8193, 20_000])
def test_any_number_of_rows(rows: int) -> None:
    values = [str(row * 7919).encode() for row in range(rows)]
    np.testing.assert_array_equal(buckets(pa.array(values, pa.binary())), expected(values))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.large_binary()])
def test_slices_of_a_column(kind: pa.DataType) -> None:
    values = pa.array([f"value {row}" for row in range(100)]).cast(kind)
    np.testing.assert_array_equal(fingerprint64(values[37:61]), fingerprint64(values)[37:61])
