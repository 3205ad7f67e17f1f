# SPDX-License-Identifier: Apache-2.0
"""How many synthetic rows a second one core draws and writes.

python -m benchmarks.generate --rows 2000000 --json generate.json
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.numbers_file import add_json_option, write_numbers
from pipelines.synthetic import generate, write_logs


def rows_per_second(rows: int, work: Callable[[], object], repeats: int) -> float:
    """The best of several runs: other load on the machine only ever slows one down."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return rows / min(seconds)


def measure(rows: int, repeats: int) -> dict[str, float]:
    """Rows a second of drawing alone, and of drawing and writing each format."""

    def draw() -> None:
        for _ in generate(rows, seed=0, truth=True):
            pass

    speeds = {"rows": rows, "draw_rows_per_second": rows_per_second(rows, draw, repeats)}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".csv", ".parquet"):
            write = partial(write_logs, Path(folder) / f"logs{suffix}", rows, seed=0, truth=True)
            speeds[f"{suffix[1:]}_rows_per_second"] = rows_per_second(rows, write, repeats)
    return speeds


def main() -> None:
    """Prints the speeds, and writes them as JSON on request."""
    parser = argparse.ArgumentParser(description="Rows a second of the synthetic logs, on one core.")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    add_json_option(parser)
    arguments = parser.parse_args()
    # Threads that pyarrow or NumPy start later inherit the pin.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = measure(arguments.rows, arguments.repeats)
    for name, value in result.items():
        print(f"{name:28} {value:>14,.0f}")
    write_numbers(arguments.json, result)


if __name__ == "__main__":
    main()
