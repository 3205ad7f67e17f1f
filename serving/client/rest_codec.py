# SPDX-License-Identifier: Apache-2.0
"""TF Serving's REST bodies: requests to JSON, and JSON to answers."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.client.transports import SIGNATURE, Endpoint, ModelInput, ModelSignature


class RestCodec:
    """Writes and reads JSON in column format."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def decode_signature(self, answer: bytes) -> ModelSignature:
        """Reads the answer to `/metadata`. Raises: PredictionError."""
        try:
            signatures = self._json(answer)["metadata"]["signature_def"]["signature_def"]
            if SIGNATURE not in signatures:
                raise self._endpoint.no_signature()
            signature = signatures[SIGNATURE]
            inputs = {
                name: ModelInput(info["dtype"], len(info["tensor_shape"]["dim"]) > 1)
                for name, info in sorted(signature["inputs"].items())
            }
            return ModelSignature(inputs, tuple(sorted(signature["outputs"])))
        except (AttributeError, KeyError, TypeError) as error:
            raise self._endpoint.refused("its metadata is not TF Serving's") from error

    def encode_predict(self, inputs: Mapping[str, np.ndarray]) -> bytes:
        """The body of a `:predict`."""
        columns = {name: array.tolist() for name, array in inputs.items()}
        return json.dumps({"signature_name": SIGNATURE, "inputs": columns}, separators=(",", ":")).encode()

    def decode_predict(self, answer: bytes) -> dict[str, np.ndarray]:
        """Reads the answer to a `:predict`. Raises: PredictionError."""
        try:
            outputs = self._json(answer)["outputs"]
            # TF Serving leaves the name out where a model has one output.
            named = outputs if isinstance(outputs, dict) else {"": outputs}
            return {name: np.array(values, np.float32) for name, values in named.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise self._endpoint.refused("its predictions are not TF Serving's") from error

    def _json(self, answer: bytes) -> Any:
        try:
            return json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise self._endpoint.refused("it sent no JSON; is it TF Serving's REST port?") from error
