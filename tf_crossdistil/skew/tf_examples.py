# SPDX-License-Identifier: Apache-2.0
"""tf.Examples in requests, to rows of features."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from tf_crossdistil.skew.raw_values import BrokenRequestError, Request, RequestReader

# The only input of the signature `predict_examples`.
EXAMPLES_INPUT = "examples"


def read_examples(serialized: Sequence[Any], reader: RequestReader) -> tuple[Request, list[str]]:
    """The request of serialized tf.Examples, one a row, and the names in them that the data set does not know.

    Raises:
        BrokenRequestError: one is no such bytes, or its features cannot be those of the data set.
    """
    try:
        rows = [example_row(tf.train.Example.FromString(example)) for example in serialized]
    except (DecodeError, TypeError) as error:
        raise BrokenRequestError("has an input that is no serialized tf.Example") from error
    return reader.examples(rows)


def example_row(example: tf.train.Example) -> dict[str, list[Any]]:
    """A row of features, each a list."""
    features = example.features.feature.items()
    return {name: list(getattr(feature, feature.WhichOneof("kind") or "bytes_list").value) for name, feature in features}
