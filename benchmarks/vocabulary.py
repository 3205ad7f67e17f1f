# SPDX-License-Identifier: Apache-2.0
"""How much memory and time a vocabulary of millions of entries takes, built and used.

python -m benchmarks.vocabulary --entries 5000000 --json vocabulary.json

Every entry stands once in the training split, as a text of 19 digits, and a tenth of them again in the test split.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.numbers_file import add_json_option, write_numbers
from benchmarks.preprocess import prepare_command
from benchmarks.processes import Cost, run

CONFIG = Path(__file__).with_name("vocabulary.yaml")


def write_logs(path: str, entries: int) -> None:
    """Writes the logs as parquet."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    # An odd factor is a bijection modulo 2^63, so entries are distinct; they come in no order.
    values = (np.arange(1, entries + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(1)).astype(np.int64)
    values = np.concatenate([values, values[: max(2, entries // 10)]])
    row = np.arange(len(values))
    columns = {"uid": values, "day": (row >= entries) * 2, "finish": row % 2, "like": row % 3 % 2}
    pq.write_table(pa.table(columns), path, row_group_size=2**20)


def measure(entries: int, folder: Path) -> tuple[Cost, int]:
    """The cost of the run, and how many entries its vocabulary has."""
    logs = folder / "logs.parquet"
    code = f"from benchmarks.vocabulary import write_logs; write_logs({str(logs)!r}, {entries})"
    cores = os.sched_getaffinity(0)
    run([sys.executable, "-c", code], cores)
    cost = run(prepare_command(logs, folder / "output", config=CONFIG), {min(cores)})
    (metadata,) = (folder / "output").glob("run=*/metadata.json")
    return cost, json.loads(metadata.read_text())["vocabularies"]["uid"]["size"]


def main() -> None:
    """Prints the numbers, and writes them as JSON on request."""
    parser = argparse.ArgumentParser(description="Memory and CPU time of a large vocabulary, in one process on one core.")
    parser.add_argument("--entries", type=int, default=5_000_000)
    add_json_option(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cost, entries = measure(arguments.entries, Path(folder))
    result = {"entries": entries, "peak_gigabytes": cost.peak_bytes / 1e9, "cpu_seconds": cost.cpu_seconds}
    print(f"{entries:,} entries: {result['peak_gigabytes']:.2f} GB, {cost.cpu_seconds:.1f} CPU seconds")
    write_numbers(arguments.json, result)


if __name__ == "__main__":
    main()
