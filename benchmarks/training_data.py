# SPDX-License-Identifier: Apache-2.0
"""What the training benchmarks train on: logs of TikTok's columns with embedding tables of any size, prepared by our pipeline.

python -m benchmarks.training_data FOLDER ROWS TABLE_ROWS [DIM]

Every feature is hashed, so that tables have the rows that are asked for, however few rows the logs have; how many each
feature has follows the ICME 2019 (TikTok) data, and so do the embedding dimensions of `configs/tiktok.yaml`.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.processes import ROOT, run
from pipelines.synthetic import zipf_ranks
from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import load_config

BATCH_SIZE = 4096
STRATA_BATCH_SIZE = 128
# The only feature without an embedding table.
NUMERIC = "video_duration"
# Tables of one size at any scale; the others share what is left, items have the rest of it.
_SMALL_TABLES = {"user_city": 400, "item_city": 470, "channel": 5}
_SHARES = {"uid": 0.0158, "author_id": 0.0426, "music_id": 0.0191, "did": 0.0160}
_RATES = {"finish": 0.38, "like": 0.011}
_EFFECTIVE = ("uid", "item_id", "author_id")
_BLOCK_ROWS = 1 << 20


def table_rows(total: int) -> dict[str, int]:
    """Rows of each feature's embedding table, `total` in all."""
    left = total - sum(_SMALL_TABLES.values())
    large = {name: int(left * share) for name, share in _SHARES.items()}
    return {**_SMALL_TABLES, **large, "item_id": left - sum(large.values())}


def training_experiment(total: int, method: str = "crossdistil", dim: int | None = None) -> Experiment:
    """The configuration `tiktok` with tables of `total` rows, 128 rows a stratum, and nearly all rows for training.

    Args:
        total: rows of all embedding tables together.
        method: of the distillation.
        dim: of all embeddings; by default each feature's own.
    """
    settings = load_config(ROOT / "configs" / "tiktok.yaml").model_dump(mode="json")
    rows = table_rows(total)
    settings["features"] = [
        {"name": feature["name"], "kind": "hashed", "buckets": rows[feature["name"]], "dim": dim or feature["dim"]}
        if feature["name"] in rows
        else feature
        for feature in settings["features"]
    ]
    settings["source"] = {"format": "parquet"}
    settings["split"] = {"by": "hash", "key": ["row"], "fractions": [0.98, 0.01, 0.01]}
    settings["distillation"]["method"] = method
    settings["training"] |= {"batch_size": BATCH_SIZE, "strata_batch_size": STRATA_BATCH_SIZE}
    return Experiment.model_validate(settings)


def write_logs(path: Path, rows: int, total: int, seed: int = 0) -> None:
    """Writes logs as parquet: ids skewed as those of real logs are, labels that depend on some of them."""
    generator = np.random.default_rng(seed)
    tables = table_rows(total)

    def block(first: int, count: int) -> pa.Table:
        columns = {name: zipf_ranks(generator.random(count), size, exponent=0.9, offset=10.0) for name, size in tables.items()}
        # A sine of an id is as good as random, and the same wherever the id comes.
        effect = sum(np.sin(12.9898 * columns[name]) for name in _EFFECTIVE)
        for task, rate in _RATES.items():
            probability = 1 / (1 + np.exp(-effect) * (1 - rate) / rate)
            columns[task] = (generator.random(count) < probability).astype(np.int64)
        columns[NUMERIC] = generator.integers(5, 60, count)
        columns["row"] = np.arange(first, first + count)
        return pa.table(columns)

    with pq.ParquetWriter(path, block(0, 1).schema) as writer:
        for first in range(0, rows, _BLOCK_ROWS):
            writer.write_table(block(first, min(_BLOCK_ROWS, rows - first)))


def prepared_logs(folder: Path, rows: int, total: int, dim: int | None = None) -> Path:
    """A prepared data set, made by a process of its own: what this one once held would count as the memory of others."""
    command = [sys.executable, "-m", "benchmarks.training_data", str(folder), str(rows), str(total)]
    run(command + ([] if dim is None else [str(dim)]), os.sched_getaffinity(0))
    return folder / "prepared"


def main() -> None:
    """Writes logs and prepares them."""
    # Not where this module is imported: the memory of processes that train is measured, and they need no Beam.
    from pipelines.preprocess import prepare

    parser = argparse.ArgumentParser(description="Prepared synthetic logs with embedding tables of a given size.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("table_rows", type=int)
    parser.add_argument("dim", type=int, nargs="?")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    logs = arguments.folder / "logs.parquet"
    write_logs(logs, arguments.rows, arguments.table_rows)
    experiment = training_experiment(arguments.table_rows, dim=arguments.dim)
    prepare(experiment, [str(logs)], arguments.folder / "prepared", quiet=True)
    logs.unlink()


if __name__ == "__main__":
    main()
