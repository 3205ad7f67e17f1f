# SPDX-License-Identifier: Apache-2.0
"""The job of `benchmarks/preprocess.yaml`, in the words of a script."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

# Categorical features with the count from which on a value has an id of its own.
CATEGORICAL = {"uid": 2, "user_city": 1, "item_id": 2, "item_city": 1, "channel": 1, "music_id": 2, "did": 2}
HASHED = {"author_id": 20_000}
NUMERIC = ("video_duration",)
LABELS = ("finish", "like")
KEY = ("uid", "item_id", "create_time")
SPLITS = ("train", "validation", "test")
BOUNDS = (0.8, 0.9)


def record_path(output: Path, split: str, tag: str) -> Path:
    """The file of a split and tag, in a folder that is there."""
    folder = output / split / f"tag={tag}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "part-00000.tfrecord.gz"


def run_peer(work: Callable[[Path, Path], None]) -> None:
    """Runs `work` on the logs and the output named on the command line; prints the CPU seconds that imports took."""
    imports = time.process_time()
    parser = argparse.ArgumentParser(description="One peer of benchmarks.preprocess.")
    parser.add_argument("logs", type=Path, help="parquet file")
    parser.add_argument("output", type=Path, help="directory for the records")
    arguments = parser.parse_args()
    work(arguments.logs, arguments.output)
    print(json.dumps({"import_seconds": imports}))
