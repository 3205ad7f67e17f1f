# SPDX-License-Identifier: Apache-2.0
"""What commands cost that have no peer to be measured beside: processor time and memory, each in a process on one core.

python -m benchmarks.commands --only skew --json commands.json

`skew`: `crossdistil skew` with many rows less the same with few, so that starting costs nothing; requests as lines of JSON and
as PredictionLogs of 8 rows. `negatives`: `python -m pipelines.negatives` on gzip JSON lines with five of the fields of Amazon's
reviews and drawn words. `tune`: what each trial of `crossdistil tune` adds to the memory of its process.
"""

import argparse
import gzip
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from benchmarks.parts import Part, run_parts
from benchmarks.processes import Cost, run
from benchmarks.serving_data import requests
from benchmarks.training_data import prepared_logs, training_experiment
from tf_crossdistil.schema import PreparedData

_TABLE_ROWS = 33_000
_FEW_ROWS = 1000
_LOG_ROWS = 8
_TRIALS = (4, 16)
_REVIEW_WORDS = 80


def measure_skew(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Training rows a second of processor time, memory, and processor time a row of requests."""
    few, many = (prepared_logs(folder / str(rows), rows, _TABLE_ROWS) for rows in (20_000, arguments.training_rows))
    logged = {(kind, rows): folder / f"{kind}-{rows}" for kind in _REQUESTS for rows in (_FEW_ROWS, arguments.request_rows)}
    for (kind, rows), path in logged.items():
        _call(_REQUESTS[kind], path, rows)

    def cost(data: Path, kind: str, rows: int) -> Cost:
        return _command("skew", "--data", data, "--requests", logged[kind, rows])

    start = cost(few, "json", _FEW_ROWS)
    training = cost(many, "json", _FEW_ROWS)
    seconds = training.cpu_seconds - start.cpu_seconds
    few_rows, many_rows = (PreparedData.open(data).rows("train") for data in (few, many))
    result = {
        "skew_training_rows": many_rows,
        "skew_training_rows_per_second": (many_rows - few_rows) / seconds,
        "skew_gigabytes": training.peak_bytes / 1e9,
    }
    for kind in _REQUESTS:
        extra = cost(few, kind, arguments.request_rows).cpu_seconds - cost(few, kind, _FEW_ROWS).cpu_seconds
        result[f"skew_microseconds_a_row_{kind}"] = 1e6 * extra / (arguments.request_rows - _FEW_ROWS)
    return result


def write_json_lines(path: str, rows: int) -> None:
    """Requests of TikTok's features, a row a line."""
    columns = _columns(rows)
    lines = zip(*(values.tolist() for values in columns.values()), strict=True)
    text = "".join(json.dumps(dict(zip(columns, line, strict=True))) + "\n" for line in lines)
    Path(path).write_text(text, encoding="utf-8")


def write_prediction_logs(path: str, rows: int) -> None:
    """The same as TF Serving logs them, some rows a request."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    columns = _columns(rows)
    with tf.io.TFRecordWriter(path) as writer:
        for first in range(0, rows, _LOG_ROWS):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = "tiktok"
            request.model_spec.signature_name = "serving_default"
            for name, values in columns.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values[first : first + _LOG_ROWS]))
            writer.write(log.SerializeToString())


_REQUESTS: dict[str, Callable[[str, int], None]] = {"json": write_json_lines, "prediction_logs": write_prediction_logs}


def measure_negatives(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Processor time and memory of drawing negatives for logs of positives."""
    reviews = folder / "reviews.json.gz"
    _call(write_reviews, reviews, arguments.reviews)
    command = ["--input", str(reviews), "--user", "reviewerID", "--item", "asin", "--keep", "overall"]
    command += ["--time", "unixReviewTime", "--output", str(folder / "reviews.parquet")]
    cost = run([sys.executable, "-m", "pipelines.negatives", *command], {min(os.sched_getaffinity(0))})
    return {
        "negatives_reviews": arguments.reviews,
        "negatives_cpu_seconds": cost.cpu_seconds,
        "negatives_gigabytes": cost.peak_bytes / 1e9,
    }


def write_reviews(path: str, rows: int) -> None:
    """Writes generated reviews, about nine a user and twenty-seven an item, as in Amazon Electronics."""
    generator = np.random.default_rng(0)
    users, items = (generator.integers(0, max(2, rows // each), rows).tolist() for each in (9, 27))
    stars = generator.integers(1, 6, rows).tolist()
    words = [f"word{number}" for number in range(5000)]
    draw = random.Random(0)
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as lines:
        for row, (user, item, star) in enumerate(zip(users, items, stars, strict=True)):
            review = {"reviewerID": f"A{user:013}", "asin": f"{item:010}", "overall": float(star)}
            review |= {"reviewText": " ".join(draw.choices(words, k=_REVIEW_WORDS)), "unixReviewTime": 1_300_000_000 + row}
            lines.write(json.dumps(review) + "\n")


def measure_tune(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Memory that a trial leaves behind."""
    data = prepared_logs(folder, 20_000, _TABLE_ROWS)
    settings = training_experiment(_TABLE_ROWS).model_dump(mode="json")
    settings["training"]["epochs"] = 1
    space = {"training.learning_rate": {"low": 0.001, "high": 0.003}}
    settings["tuning"] = {"metric": "auc", "pruning": "none", "space": space}
    config = folder / "tune.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    few, many = (
        _command("tune", config, "--data", data, "--out", folder / str(trials), "--trials", trials) for trials in _TRIALS
    )
    return {"tune_megabytes_a_trial": (many.peak_bytes - few.peak_bytes) / 1e6 / (_TRIALS[1] - _TRIALS[0])}


def _call(function: Callable[[str, int], None], path: Path, rows: int) -> None:
    """Calls a function of this module in a process of its own: what this one once held would count as the memory of others."""
    code = f"from benchmarks.commands import {function.__name__}; {function.__name__}({str(path)!r}, {rows})"
    run([sys.executable, "-c", code], os.sched_getaffinity(0))


def _columns(rows: int) -> dict[str, np.ndarray]:
    raw, _ = requests(rows, _TABLE_ROWS)
    return {name: values.astype(str) if values.dtype.kind == "S" else values for name, values in raw.items()}


def _command(*words: object) -> Cost:
    return run([sys.executable, "-m", "tf_crossdistil.cli.main", *map(str, words)], {min(os.sched_getaffinity(0))})


PARTS: dict[str, Part] = {"skew": measure_skew, "negatives": measure_negatives, "tune": measure_tune}


def main() -> None:
    """Prints the table, and writes the numbers as JSON on request."""
    parser = argparse.ArgumentParser(description="Processor time and memory of commands that have no peer.")
    parser.add_argument("--training-rows", type=int, default=1_000_000, help="that skew reads (default 1,000,000)")
    parser.add_argument("--request-rows", type=int, default=200_000, help="that skew reads (default 200,000)")
    parser.add_argument("--reviews", type=int, default=1_689_188, help="of negatives (default as Amazon Electronics)")
    run_parts(parser, PARTS, "commands on one core")


if __name__ == "__main__":
    main()
