# SPDX-License-Identifier: Apache-2.0
"""The command that compares logged requests with the training data: skew."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tf_crossdistil.cli.json_file import check_json_file, write_json_file
from tf_crossdistil.cli.progress import progress_bar
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.startup import load_tensorflow


def skew(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The prepared data that the model was trained on.")],
    requests: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="A TFRecord of PredictionLogs, or rows or REST predict bodies as lines of JSON; each plain or gzip. A quoted "
            "pattern such as 'logs/*.gz' takes several files.",
        ),
    ],
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON, too.")] = None,
    threshold: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Population stability index, less what chance makes it, above which a feature drifted; above 0.4 of it, it "
            "shifted.",
        ),
    ] = 0.25,
) -> None:
    """Compare logged requests with the training split: missing values, oov, quantiles and the population stability index.

    Ends with 0 whether or not a feature drifted; the verdict of each is in the table, and that of all in --json.

    Example: `crossdistil skew --data data --requests 'logs/requests-*.tfrecord' --json skew.json`
    """
    check_json_file(json_file)
    prepared = PreparedData.open(data)
    load_tensorflow()
    from pipelines.inspection import wide_console
    from tf_crossdistil.skew.report import show_skew, skew_document
    from tf_crossdistil.skew.request_files import find_request_files
    from tf_crossdistil.skew.skew import measure_skew

    files = find_request_files(requests)
    with progress_bar("reading the training split", prepared.rows("train"), Console(stderr=True)) as advance:
        found = measure_skew(prepared, files, threshold, advance)
    show_skew(found, wide_console())
    write_json_file(json_file, skew_document(found))


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(skew)
