# SPDX-License-Identifier: Apache-2.0
"""The command that puts load on a server: load-test."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from tf_crossdistil.cli.ending import end_process
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.training.interruption import INTERRUPTED

if TYPE_CHECKING:
    from serving.load_test.level import Level
    from serving.load_test.run import Results

# A file or a pipe has room for long lines.
_WIDE = 160
_IMAGES = (".png", ".svg", ".pdf")


def load_test(
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="The gRPC port, or the REST port with --rest.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="The model's name.")],
    input_file: Annotated[Path, typer.Option("--input", metavar="FILE", help="Raw rows: .jsonl, .csv, .tsv or .parquet.")],
    rest: Annotated[bool, typer.Option("--rest", help="Ask through REST instead of gRPC.")] = False,
    rows: Annotated[int, typer.Option(min=1, max=65536, help="Rows in a request.")] = 64,
    concurrency: Annotated[str, typer.Option(metavar="N,...", help="Requests under way at once, rising.")] = "1,2,4,8,16",
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long each level is measured.")] = 5.0,
    timeout: Annotated[float, typer.Option(min=0.001, max=3600, help="Seconds that a request may take.")] = 10.0,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a plot: .png, .svg or .pdf.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON, too.")] = None,
) -> None:
    """Put rising load on a running server; prints latency, throughput and errors for each level of concurrency.

    Each of the callers of a level sends its next request when its last one is answered (a closed loop), after a warm-up of a
    fifth of --seconds that does not count. Latency is from sending to the answer, of the requests that succeeded. A server
    that stalls is sent fewer requests meanwhile, so that percentiles look better than users who do not wait for each other
    would find (coordinated omission).

    Failed requests are results, shown and counted, never repeated: the exit code is 0 unless no request at all succeeded. A
    level where every request fails ends the test. Ctrl-C shows what was measured until then and ends with 130.

    Example: `crossdistil load-test --server 127.0.0.1:8500 --model kuairand --input sample.jsonl --plot load.png`
    """
    levels = _numbers(concurrency)
    _check_file(plot, "--plot")
    _check_file(json_file, "--json")
    if plot is not None and plot.suffix.lower() not in _IMAGES:
        raise UsageError(f"{plot} must end in one of {', '.join(_IMAGES)}; give another --plot")

    from serving.load_test.against_server import load_test as test_server
    from serving.load_test.interruption import Interruption
    from serving.load_test.plan import Plan
    from serving.load_test.table import levels_table

    plan = Plan(server, model, rest, rows, levels, seconds, timeout)
    with Interruption() as interruption:
        with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

            def show(done: "Sequence[Level]", next_level: str) -> None:
                live.update(levels_table(done, next_level), refresh=True)

            results = test_server(plan, input_file, show, interruption)
        _tell(results, plot, json_file)


def _tell(results: "Results", plot: Path | None, json_file: Path | None) -> None:
    from serving.load_test.results_file import save_json
    from serving.load_test.table import levels_table, notes

    screen = Console(width=None if sys.stdout.isatty() else _WIDE)
    if results.levels:
        screen.print(levels_table(results.levels))
    for note in notes(results.levels):
        screen.print(note, highlight=False, markup=False, soft_wrap=True)
    try:
        if json_file is not None:
            save_json(results, json_file)
        if plot is not None and results.levels:
            from serving.load_test.plot import save_plot

            save_plot(results.levels, results.plan.title, plot)
    except OSError as error:
        raise CrossDistilError(f"cannot write {error.filename}: {error.strerror}; give another --json or --plot") from error
    if results.interrupted:
        shown = "; what is shown was measured until then" if results.levels else " before anything was measured"
        end_process(INTERRUPTED, f"interrupted{shown}")
    if not any(level.latency for level in results.levels):
        raise CrossDistilError(f"no request succeeded; the first failed so: {results.levels[0].first_error}")


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(load_test)


def _numbers(text: str) -> list[int]:
    try:
        return [int(item) for item in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--concurrency needs whole numbers divided by commas, such as 1,2,4,8; received '{text}'") from error


def _check_file(path: Path | None, option: str) -> None:
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UsageError(f"{path} is a directory, or in one that does not exist; give another {option}")
