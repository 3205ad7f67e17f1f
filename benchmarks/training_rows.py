# SPDX-License-Identifier: Apache-2.0
"""The rows that our side trains on, as the parquet file and the job that the peers are given.

python -m benchmarks.training_rows PREPARED TABLE_ROWS DIM ROWS FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peer_jobs import peer_job
from benchmarks.training_data import BATCH_SIZE, NUMERIC, table_rows, training_experiment
from tf_crossdistil.config import Experiment
from tf_crossdistil.data.records import split_batches
from tf_crossdistil.schema import PreparedData


def write_rows(data: PreparedData, experiment: Experiment, rows: int, path: Path) -> None:
    """Writes rows of the training split in random order, ids as our records have them, numbers as our network takes them."""
    batches = list(split_batches(data, experiment, "train", BATCH_SIZE))
    columns = {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}
    columns[NUMERIC] = np.log1p(columns[NUMERIC])
    chosen = np.random.default_rng(0).permutation(data.rows("train"))[:rows]
    pq.write_table(pa.table({name: column[chosen] for name, column in columns.items()}), path)


def main() -> None:
    """Writes `rows.parquet` and `job.json`."""
    parser = argparse.ArgumentParser(description="What the peers of benchmarks.train are given.")
    parser.add_argument("prepared", type=Path)
    parser.add_argument("table_rows", type=int)
    parser.add_argument("dim", type=int)
    parser.add_argument("rows", type=int)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    experiment = training_experiment(arguments.table_rows, dim=arguments.dim)
    path = arguments.folder / "rows.parquet"
    write_rows(PreparedData.open(arguments.prepared), experiment, arguments.rows, path)
    job = peer_job(experiment, table_rows(arguments.table_rows), arguments.dim, str(path))
    job.write(arguments.folder / "job.json")


if __name__ == "__main__":
    main()
