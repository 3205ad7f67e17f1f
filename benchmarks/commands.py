# SPDX-License-Identifier: Apache-2.0
"""What commands cost that have no peer to be measured beside: processor time and memory, each in a process on one core.

python -m benchmarks.commands --only skew --json commands.json

`skew`: `crossdistil skew` with many rows less the same with few, so that starting costs nothing; requests as lines of JSON and
as PredictionLogs of 8 rows. `negatives`: `python -m pipelines.negatives` on gzip JSON lines in the form of Amazon's reviews.
`tune`: what each trial of `crossdistil tune` adds to the memory of its process.
"""

import argparse
import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import yaml

from benchmarks.parts import Part, run_parts
from benchmarks.processes import Cost, run
from benchmarks.serving_data import requests
from benchmarks.training_data import prepared_logs, training_experiment

_TABLE_ROWS = 33_000
_FEW_ROWS = 1000
_LOG_ROWS = 8
_TRIALS = (4, 16)
_REVIEW = "One of the sentences that people write about what they bought, which our reader has to step over. " * 5


def measure_skew(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Processor time a training row and a row of requests."""
    few, many = (prepared_logs(folder / str(rows), rows, _TABLE_ROWS) for rows in (20_000, arguments.training_rows))
    logged = {
        (kind, rows): write(folder / f"{kind}-{rows}", rows)
        for kind, write in (("json", write_json_lines), ("prediction_logs", write_prediction_logs))
        for rows in (_FEW_ROWS, arguments.request_rows)
    }

    def cost(data: Path, kind: str, rows: int) -> Cost:
        return _command("skew", "--data", data, "--requests", logged[kind, rows])

    start = cost(few, "json", _FEW_ROWS)
    training = cost(many, "json", _FEW_ROWS)
    seconds = training.cpu_seconds - start.cpu_seconds
    result = {
        "skew_training_rows": arguments.training_rows,
        "skew_training_rows_per_second": (arguments.training_rows - 20_000) / seconds,
        "skew_gigabytes": training.peak_bytes / 1e9,
    }
    for kind in ("json", "prediction_logs"):
        extra = cost(few, kind, arguments.request_rows).cpu_seconds - cost(few, kind, _FEW_ROWS).cpu_seconds
        result[f"skew_microseconds_a_row_{kind}"] = 1e6 * extra / (arguments.request_rows - _FEW_ROWS)
    return result


def write_json_lines(path: Path, rows: int) -> Path:
    """Requests of TikTok's features, a row a line."""
    columns = _columns(rows)
    lines = zip(*(values.tolist() for values in columns.values()), strict=True)
    path.write_text("".join(json.dumps(dict(zip(columns, line, strict=True))) + "\n" for line in lines), encoding="utf-8")
    return path


def write_prediction_logs(path: Path, rows: int) -> Path:
    """The same as TF Serving logs them, some rows a request."""
    # Not where this module is imported: its process counts as memory of those that it starts.
    code = f"from benchmarks.commands import write_records; write_records({str(path)!r}, {rows})"
    run([sys.executable, "-c", code], os.sched_getaffinity(0))
    return path


def write_records(path: str, rows: int) -> None:
    """Writes the PredictionLogs."""
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


def measure_negatives(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Processor time and memory of drawing negatives for logs of positives."""
    reviews = folder / "reviews.json.gz"
    write_reviews(reviews, arguments.reviews)
    command = ["--input", str(reviews), "--user", "reviewerID", "--item", "asin", "--keep", "overall"]
    command += ["--time", "unixReviewTime", "--output", str(folder / "reviews.parquet")]
    cost = run([sys.executable, "-m", "pipelines.negatives", *command], {min(os.sched_getaffinity(0))})
    return {
        "negatives_reviews": arguments.reviews,
        "negatives_cpu_seconds": cost.cpu_seconds,
        "negatives_gigabytes": cost.peak_bytes / 1e9,
    }


def write_reviews(path: Path, rows: int) -> None:
    """Writes generated reviews, about nine a user and twenty-seven an item, as in Amazon Electronics."""
    generator = np.random.default_rng(0)
    users, items = (generator.integers(0, max(2, rows // each), rows).tolist() for each in (9, 27))
    stars = generator.integers(1, 6, rows).tolist()
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as lines:
        for row, (user, item, star) in enumerate(zip(users, items, stars, strict=True)):
            review = {"reviewerID": f"A{user:013}", "asin": f"{item:010}", "reviewText": _REVIEW, "overall": float(star)}
            lines.write(json.dumps(review | {"unixReviewTime": 1_300_000_000 + row}) + "\n")


def measure_tune(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Memory that a trial leaves behind."""
    data = prepared_logs(folder, 20_000, _TABLE_ROWS)
    settings = training_experiment(_TABLE_ROWS).model_dump(mode="json")
    settings["training"]["epochs"] = 1
    settings["tuning"] = {"metric": "auc", "space": {"training.learning_rate": {"low": 0.001, "high": 0.003}}}
    config = folder / "tune.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    few, many = (
        _command("tune", config, "--data", data, "--out", folder / str(trials), "--trials", trials) for trials in _TRIALS
    )
    return {"tune_megabytes_a_trial": (many.peak_bytes - few.peak_bytes) / 1e6 / (_TRIALS[1] - _TRIALS[0])}


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
