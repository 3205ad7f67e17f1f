# SPDX-License-Identifier: Apache-2.0
"""Commands around serving: serve, predict."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def serve(
    model: Annotated[Path, typer.Argument(metavar="DIR/NAME", help="The --to of `crossdistil export`.")],
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = 8500,
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = 8501,
    poll_seconds: Annotated[float, typer.Option(metavar="SECONDS", help="Between two looks for new versions.")] = 1.0,
) -> None:
    """Serve the newest version of an exported model on 127.0.0.1 with TF Serving's API, for development.

    Production runs TF Serving.

    Example: `crossdistil serve models/kuairand --grpc-port 8500 --rest-port 8501`
    """
    from serving.local_server.server import serve as serve_model

    serve_model(model, grpc_port, rest_port, poll_seconds)


def predict(
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="The gRPC port, or the REST port with --rest.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="The model's name.")],
    input_file: Annotated[Path, typer.Option("--input", metavar="FILE", help="Raw rows: .jsonl, .csv, .tsv or .parquet.")],
    rest: Annotated[bool, typer.Option("--rest", help="Ask through REST instead of gRPC.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="For each request of 1024 rows, with its retries.")] = 10.0,
    version: Annotated[int | None, typer.Option(metavar="N", help="The version to ask; the newest by default.")] = None,
    label: Annotated[str | None, typer.Option(metavar="LABEL", help="The version to ask by its label, such as stable.")] = None,
) -> None:
    """Ask a running server about raw rows; prints one JSON object of answers a row.

    Example: `crossdistil predict --server 127.0.0.1:8500 --model kuairand --input data/run=.../sample.jsonl`
    """
    from serving.client.file_predictions import predict_file

    for answers in predict_file(server, model, input_file, rest, timeout, version, label):
        sys.stdout.write(json.dumps(answers) + "\n")


def add_to(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command()(serve)
    app.command()(predict)
