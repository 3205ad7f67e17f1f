# SPDX-License-Identifier: Apache-2.0
"""The client library: rows of raw features in, answers by task out, through gRPC or REST; imports no TensorFlow."""

from serving.client.async_client import AsyncClient
from serving.client.client import Client, PredictionError

__all__ = ["AsyncClient", "Client", "PredictionError"]
