# SPDX-License-Identifier: Apache-2.0
"""How fast training rows are read, beside how fast the model trains on them.

python -m benchmarks.input --json input.json

`input_over_training`: natural rows a second of batches read from gzip TFRecords (`StreamedRows`, with 128 rows drawn from each
stratum) over those that CrossDistil trains at TikTok's table sizes, all on one core.
`in_memory_examples_per_second`: the same rows out of memory (`InMemoryRows`), where the split fits. Natural rows count, drawn
ones come on top. Reading and steps take turns, and medians count; a turn of reading is long beside what tf.data holds ready.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.numbers_file import add_json_option, write_numbers
from benchmarks.training_data import BATCH_SIZE, prepared_logs, training_experiment

TABLE_ROWS = 4_700_000
_STEPS_A_TURN = 10


def batches(kind: str, prepared: Path, table_rows: int) -> Iterator[Any]:
    """Batches of one epoch after another, streamed or in memory."""
    from tf_crossdistil.data.in_memory_rows import InMemoryRows
    from tf_crossdistil.data.strata import strata
    from tf_crossdistil.data.streamed_rows import StreamedRows
    from tf_crossdistil.data.training_rows import BatchShape, Shard
    from tf_crossdistil.schema import PreparedData

    data = PreparedData.open(prepared)
    experiment = training_experiment(table_rows)
    shape = BatchShape(BATCH_SIZE, strata(data.metadata), experiment.training.strata_batch_size)
    rows = {"streamed": StreamedRows, "in_memory": InMemoryRows}[kind](data, experiment, shape)
    # An epoch of `TrainingRows` is cut to whole batches of the split by its callers.
    steps = data.rows("train") // BATCH_SIZE
    for epoch in count(1):
        yield from rows.epoch(epoch, 0, Shard()).take(steps)


def rows_per_second(work: Callable[[], object], steps: int) -> float:
    """Natural rows a second of taking some batches."""
    start = time.perf_counter()
    for _ in range(steps):
        work()
    return steps * BATCH_SIZE / (time.perf_counter() - start)


def measure(prepared: Path, table_rows: int, turns: int, batches_a_turn: int) -> dict[str, float]:
    """Reading and training by turns, in this process, which is pinned to one core before TensorFlow is loaded."""
    from benchmarks.training_steps import Steps
    from tf_crossdistil.schema import PreparedData

    steps = Steps(training_experiment(table_rows), PreparedData.open(prepared), count=20)
    streamed, in_memory = (batches(kind, prepared, table_rows) for kind in ("streamed", "in_memory"))
    # The first batch of each waits until the shuffle is full.
    next(streamed), next(in_memory)
    speeds: dict[str, list[float]] = {"streamed": [], "in_memory": [], "training": []}
    for _ in track(range(turns), "reading and training", console=Console(stderr=True)):
        speeds["streamed"].append(rows_per_second(lambda: next(streamed), batches_a_turn))
        speeds["in_memory"].append(rows_per_second(lambda: next(in_memory), batches_a_turn))
        speeds["training"].append(rows_per_second(steps.seconds, _STEPS_A_TURN))
    result = {f"{name}_examples_per_second": median(values) for name, values in speeds.items()}
    return {
        "input_over_training": result["streamed_examples_per_second"] / result["training_examples_per_second"],
        **result,
    }


def main() -> None:
    """Prints the numbers, and writes them as JSON on request."""
    parser = argparse.ArgumentParser(description="Rows a second of the training input, beside training, on one core.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the logs (default 1,000,000)")
    parser.add_argument("--table-rows", type=int, default=TABLE_ROWS, help="of all embedding tables (default 4,700,000)")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--batches", type=int, default=150, help="that are read in a turn (default 150)")
    add_json_option(parser)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepared_logs(Path(folder), arguments.rows, arguments.table_rows)
        result = measure(prepared, arguments.table_rows, arguments.turns, arguments.batches)
    for name, value in result.items():
        print(f"{name:32} {value:>14,.2f}")
    write_numbers(arguments.json, result)


if __name__ == "__main__":
    main()
