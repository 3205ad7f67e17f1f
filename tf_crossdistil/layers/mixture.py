# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts."""

from collections.abc import Sequence

import tensorflow as tf


def mix(gates: tf.Tensor, experts: Sequence[tf.Tensor]) -> tf.Tensor:
    """`sum_i g_i e_i`: gates `[rows, experts]`, each expert `[rows, units]`."""
    return tf.add_n([gates[:, index : index + 1] * expert for index, expert in enumerate(experts)])
