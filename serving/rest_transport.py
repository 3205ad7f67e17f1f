"""The REST transport of the client."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from serving.transports import SIGNATURE, Endpoint, ModelInput, ModelSignature


class RestTransport:
    """Asks through TF Serving's REST API, in column format."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client = httpx.Client(timeout=endpoint.timeout)
        self._path = f"http://{endpoint.address}/v1/models/{quote(endpoint.model, safe='')}"

    def signature(self) -> ModelSignature:
        """Asks for the metadata. Raises: PredictionError."""
        answer = self._call("GET", "/metadata")
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            if SIGNATURE not in signatures:
                raise self._endpoint.no_signature()
            signature = signatures[SIGNATURE]
            inputs = {
                name: ModelInput(info["dtype"], len(info["tensor_shape"]["dim"]) > 1)
                for name, info in signature["inputs"].items()
            }
            return ModelSignature(inputs, tuple(sorted(signature["outputs"])))
        except (AttributeError, KeyError, TypeError) as error:
            raise self._endpoint.refused("its metadata is not TF Serving's") from error

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Asks for predictions. Raises: PredictionError."""
        columns = {name: array.tolist() for name, array in inputs.items()}
        # Not httpx's `json`: it refuses NaN, which TF Serving reads.
        answer = self._call("POST", ":predict", json.dumps({"signature_name": SIGNATURE, "inputs": columns}))
        try:
            outputs = answer["outputs"]
            if not isinstance(outputs, dict):
                # TF Serving leaves the name out where a model has one output.
                outputs = {self.signature().tasks[0]: outputs}
            return {name: np.array(values, np.float32) for name, values in outputs.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise self._endpoint.refused("its predictions are not TF Serving's") from error

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _call(self, method: str, suffix: str, content: str | None = None) -> Any:
        try:
            response = self._client.request(method, self._path + suffix, content=content)
        except httpx.TimeoutException as error:
            raise self._endpoint.too_late() from error
        except httpx.ConnectError as error:
            raise self._endpoint.unavailable(str(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._endpoint.refused(f"{error}; is it a REST port?") from error
        try:
            answer = response.json()
        except ValueError as error:
            raise self._endpoint.refused(f"it sent no JSON (HTTP status {response.status_code}); is it a REST port?") from error
        if response.is_success:
            return answer
        reason = answer.get("error", "") if isinstance(answer, dict) else ""
        failure = self._endpoint.not_found if response.status_code == httpx.codes.NOT_FOUND else self._endpoint.refused
        raise failure(reason or f"HTTP status {response.status_code}")
