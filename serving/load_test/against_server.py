# SPDX-License-Identifier: Apache-2.0
"""A load test from a file of rows to its results."""

import asyncio
from pathlib import Path

from serving.client.file_predictions import fitting_rows
from serving.client.grpc_codec import GrpcCodec
from serving.client.grpc_transport import AsyncGrpcTransport
from serving.client.request_files import Row, read_rows
from serving.client.rest_codec import RestCodec
from serving.client.rest_transport import AsyncRestTransport
from serving.client.transports import AsyncTransport, Codec
from serving.load_test.bodies import encoded_requests
from serving.load_test.interruption import Interruption
from serving.load_test.plan import Plan
from serving.load_test.run import Results, Show, run_levels


def load_test(plan: Plan, input_file: Path, show: Show, interruption: Interruption) -> Results:
    """Asks a server for the predictions of a file's rows at rising concurrency.

    Args:
        plan: the levels, and how long they take.
        input_file: a file for `serving.client.request_files.read_rows`.
        show: called between levels with those that are measured and what comes next.
        interruption: entered by the caller, who tells the results within it.

    Raises:
        UsageError: the server is not HOST:PORT, or the file is of an unknown kind.
        CrossDistilError: the file cannot be read.
        PredictionError: the rows do not fit the model, or the server cannot be asked what it takes.
    """
    rows = read_rows(input_file)
    return asyncio.run(_load_test(plan, rows, input_file, show, interruption))


async def _load_test(plan: Plan, rows: list[Row], input_file: Path, show: Show, interruption: Interruption) -> Results:
    endpoint = plan.endpoint
    codec: Codec = RestCodec(endpoint) if plan.rest else GrpcCodec(endpoint)
    transport: AsyncTransport = AsyncRestTransport(endpoint) if plan.rest else AsyncGrpcTransport(endpoint)
    try:
        signature = codec.decode_signature(await transport.metadata())
        fitting = fitting_rows(rows, signature.inputs, input_file, plan.model)
        requests = encoded_requests(fitting, plan.rows, endpoint, codec, signature)
        return await run_levels(plan, transport.exchange, requests, show, interruption)
    finally:
        await transport.close()
