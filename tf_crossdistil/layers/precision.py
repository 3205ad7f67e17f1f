# SPDX-License-Identifier: Apache-2.0
"""In which precision layers compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import tf_keras as keras


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Keras layers made inside compute in this policy, such as `mixed_bfloat16`; their variables are float32."""
    former = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(former)
