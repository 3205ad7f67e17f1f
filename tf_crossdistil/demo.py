# SPDX-License-Identifier: Apache-2.0
"""The whole way on synthetic logs: what `crossdistil demo` runs and shows."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from pipelines.preprocess import prepare
from pipelines.synthetic import write_logs
from serving.client import Client
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.startup import load_tensorflow

CONFIG = Path(__file__).with_name("demo.yaml")
SEED = 0
# What the served answers may differ by from the live model's.
TOLERANCE = 1e-6
_MARKER = ".crossdistil-demo"
_SERVER_SECONDS = 15.0
_METHODS = {"CrossDistil": "crossdistil", "PLE": "none"}


def run_demo(out: Path, rows: int, console: Console) -> None:
    """Generates logs, prepares, trains two methods, evaluates, exports, serves, asks, compares and reports.

    Args:
        out: directory for everything it makes; an earlier demo there is replaced.
        rows: how many log rows.
        console: where it shows what it does.

    Raises:
        UsageError: the directory holds something else than a demo.
        CrossDistilError: a step failed, or the served answers differ from the live model's.
    """
    started = time.perf_counter()
    _clear(out)
    experiment = load_config(CONFIG)
    logs, data_directory, runs, model = out / "logs.csv", out / "data", out / "runs", out / "models" / experiment.name

    _headline(console, 1, f"generate {rows:,} TikTok-like log rows")
    write_logs(logs, rows, SEED, truth=True)
    _headline(console, 2, "prepare them with Apache Beam")
    data = prepare(experiment, [str(logs)], data_directory)
    _headline(console, 3, "train CrossDistil, and the plain PLE backbone with the same budget")
    load_tensorflow()
    from tf_crossdistil.evaluation.evaluate import evaluate
    from tf_crossdistil.evaluation.report import Report, write_report
    from tf_crossdistil.evaluation.results import MethodResult
    from tf_crossdistil.evaluation.tables import result_table
    from tf_crossdistil.export.publish import export
    from tf_crossdistil.training.trainer import train

    trained = {}
    for title, method in _METHODS.items():
        configured = load_config(CONFIG, [f"distillation.method={method}"])
        trained[title] = train(configured, data, runs / configured.method_name, console)
    _headline(console, 4, "evaluate both on the test split")
    results = []
    for title, run in trained.items():
        result = evaluate(run, data, "test")
        results.append(MethodResult(title, result.summary, result.predictions, result.history))
        (run.directory / "test.json").write_text(json.dumps(result.summary, indent=2) + "\n", encoding="utf-8")
    _headline(console, 5, "export CrossDistil's students, serve them, ask through gRPC and REST")
    exported = export(trained["CrossDistil"], model)
    _compare_served_answers(trained["CrossDistil"], model, console)
    report = out / "report.html"
    facts = {
        "Logs": f"{rows:,} synthetic rows, seed {SEED}",
        "Test rows": f"{data.rows('test'):,}",
        "Backbone": experiment.model.backbone,
        "Budget": f"at most {experiment.training.epochs} epochs, stopped on validation data",
    }
    write_report(report, Report("CrossDistil demo", results, facts))

    console.print(result_table([(result.name, result.summary) for result in results]))
    made = {"report": report, "prepared data": data.directory, "runs": runs, "served model": exported.directory}
    for name, path in made.items():
        console.print(f"  {name + ':':15}{path}", highlight=False, soft_wrap=True)
    console.print(f"done in {time.perf_counter() - started:.0f} s; next:")
    console.print(f"  open {report} in a browser", highlight=False, soft_wrap=True)
    console.print(f"  crossdistil inspect {data_directory}", highlight=False, soft_wrap=True)
    console.print(f"  crossdistil serve {model}", highlight=False, soft_wrap=True)
    console.print(
        "  copy configs/tiktok.yaml, describe your own logs in it, and run prepare, train, evaluate, export", soft_wrap=True
    )


def _headline(console: Console, number: int, text: str) -> None:
    console.rule(f"[bold]{number}/5  {text}", align="left")


def _clear(out: Path) -> None:
    if out.exists() and not (out / _MARKER).exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds something that is no demo; give another --out")
    try:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        (out / _MARKER).touch()
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}; give another --out") from error


def _compare_served_answers(run: Any, model: Path, console: Console) -> None:
    from tf_crossdistil.export.live_model import live_answers
    from tf_crossdistil.export.warm_up import read_sample

    rows = read_sample(run.sample_file)
    expected = live_answers(run, rows)
    with _local_server(model) as (grpc_port, rest_port):
        for port, rest, name in ((grpc_port, False, "gRPC"), (rest_port, True, "REST")):
            with Client(f"127.0.0.1:{port}", model=model.name, rest=rest) as client:
                answers = client.predict(rows)
            difference = max(float(np.max(np.abs(answers[task] - expected[task]))) for task in expected)
            if not difference <= TOLERANCE:
                raise CrossDistilError(
                    f"answers through {name} differ from the live model's by {difference:.1e}, more than {TOLERANCE:.0e}; "
                    "this is a fault of the export: please report it"
                )
            first = ", ".join(f"{task} {float(values[0]):.4f}" for task, values in answers.items())
            console.print(
                f"{name}: {len(rows)} rows answered, as the live model to {difference:.1e}; the first: {first}",
                highlight=False,
                soft_wrap=True,
            )


@contextmanager
def _local_server(model: Path) -> Iterator[tuple[int, int]]:
    """A local server in a process of its own on free ports; ended with the block."""
    command = [sys.executable, "-m", "serving.local_server", str(model), "--grpc-port", "0", "--rest-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", line)]
        if len(ports) != 2:
            raise CrossDistilError(f"the local server did not start; it printed: {line.strip() or 'nothing'}")
        yield ports[0], ports[1]
    finally:
        process.terminate()
        try:
            process.wait(_SERVER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
