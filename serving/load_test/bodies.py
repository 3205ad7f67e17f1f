# SPDX-License-Identifier: Apache-2.0
"""The encoded requests of a load test."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from serving.client.batches import Batches
from serving.client.transports import Codec, Endpoint, ModelSignature
from serving.load_test.closed_loop import Requests

# How many rows are kept encoded at most, if one request does not have more; enough that no cache holds the answers.
_MAX_ROWS = 65536


def encoded_requests(
    rows: Sequence[Mapping[str, Any]], size: int, endpoint: Endpoint, codec: Codec, signature: ModelSignature
) -> Requests:
    """Requests of `size` rows each, which take the rows in their order and again from the first where they are too few.

    Raises:
        PredictionError: the rows do not fit the model.
    """
    count = max(1, min(-(-len(rows) // size), _MAX_ROWS // size))
    batches = Batches(endpoint, codec, size)
    encoded = list(batches.split(list(islice(cycle(rows), count * size)), signature))

    def check(answer: bytes) -> None:
        batches.join([batches.read(answer, encoded[0], signature)], signature)

    return Requests([batch.body for batch in encoded], size, check)
