# SPDX-License-Identifier: Apache-2.0
"""How much cheaper our preprocessing is than what people write by hand, in CPU time a row.

python -m benchmarks.preprocess --rows 5000000 --json preprocess.json

Everybody does the same job on the same rows, parquet to gzip TFRecords, each run in a process of its own that is pinned to
one core; runs take turns and their medians count. Our CPU time is that of the whole command; of the peers' the imports are
left out, and their cost is linear from about a million rows on, so they may be run on fewer rows than we are, but not on fewer
than that.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.numbers_file import add_json_option, write_numbers
from benchmarks.processes import Cost, run

CONFIG = Path(__file__).with_name("preprocess.yaml")
OURS = "tf_crossdistil"
PEERS = {
    "polars": "polars_script",
    "polars_expert": "polars_expert",
    "polars_expert_quick": "polars_expert_quick",
    "beam_rows": "beam_rows",
}
NAMES = {
    OURS: "ours",
    "polars": "polars, a message a row",
    "polars_expert": "polars, one message",
    "polars_expert_quick": "polars, one, gzip 1",
    "beam_rows": "Beam, a message a row",
}


def make_logs(path: Path, rows: int) -> Path:
    """Writes synthetic logs, in a process of its own: what this process once held would count as the memory of the others."""
    code = (
        f"import pathlib; from pipelines.synthetic import write_logs; write_logs(pathlib.Path({str(path)!r}), {rows}, seed=0)"
    )
    run([sys.executable, "-c", code], os.sched_getaffinity(0))
    return path


def prepare_command(logs: Path, output: Path, *options: str, config: Path = CONFIG) -> list[str]:
    """The command line of our preprocessing."""
    return [sys.executable, "-m", "pipelines.preprocess", str(config), "--input", str(logs), "--output", str(output), *options]


def peer_command(name: str, logs: Path, output: Path) -> list[str]:
    """The command line of a peer."""
    return [sys.executable, "-m", f"benchmarks.preprocess_peers.{PEERS[name]}", str(logs), str(output)]


def installed_peers() -> list[str]:
    """The peers whose libraries are here; of each of the others a sentence says that it is left out."""
    found = [name for name in PEERS if not name.startswith("polars") or find_spec("polars")]
    if absent := [name for name in PEERS if name not in found]:
        text = f"polars is not installed, so {', '.join(absent)} are left out; pip install -e '.[bench]' brings it"
        Console(stderr=True).print(text, highlight=False, soft_wrap=True)
    return found


def cpu_seconds(name: str, cost: Cost) -> float:
    """What of the CPU time counts."""
    return cost.cpu_seconds - (json.loads(cost.output.splitlines()[-1])["import_seconds"] if name in PEERS else 0.0)


def measure(rows: dict[str, int], repeats: int, folder: Path) -> dict[str, list[Cost]]:
    """The costs of every run, by who ran."""
    logs = {count: make_logs(folder / f"{count}.parquet", count) for count in set(rows.values())}
    core = {min(os.sched_getaffinity(0))}
    costs: dict[str, list[Cost]] = {name: [] for name in (*rows, "one_worker", "two_workers")}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=repeats * len(costs))

        def take(name: str, command: list[str], cores: set[int]) -> None:
            progress.update(task, description=name)
            costs[name].append(run(command, cores))
            progress.advance(task)

        for repeat in range(repeats):
            for name, count in rows.items():
                output = folder / f"{name}-{repeat}"
                make = peer_command if name in PEERS else lambda _, logs, output: prepare_command(logs, output)
                take(name, make(name, logs[count], output), core)
            for name, workers in (("one_worker", 1), ("two_workers", 2)):
                options = ("--direct_running_mode=multi_processing", f"--direct_num_workers={workers}")
                take(name, prepare_command(logs[rows[OURS]], folder / f"{name}-{repeat}", *options), os.sched_getaffinity(0))
    return costs


def summarize(rows: dict[str, int], costs: dict[str, list[Cost]]) -> dict[str, float]:
    """What the benchmark is asked for: medians over the repeats."""
    micros = {name: 1e6 * statistics.median(cpu_seconds(name, cost) for cost in costs[name]) / rows[name] for name in rows}
    wall = {name: statistics.median(cost.wall_seconds for cost in costs[name]) for name in costs}
    return {
        **{f"cheaper_than_{name}": micros[name] / micros[OURS] for name in rows if name != OURS},
        "rows_per_second_core": 1e6 / micros[OURS],
        "peak_gigabytes": max(cost.peak_bytes for name in (OURS, "two_workers") for cost in costs[name]) / 1e9,
        "two_workers_speedup": wall["one_worker"] / wall["two_workers"],
        **{f"microseconds_{name}": value for name, value in micros.items()},
    }


def show(rows: dict[str, int], costs: dict[str, list[Cost]], result: dict[str, float]) -> None:
    """Prints the table."""
    table = Table("who", title="preprocessing: parquet in, gzip TFRecord out, 12 columns, one core")
    for heading in ("rows", "CPU us a row", "ours is cheaper", "peak GB"):
        table.add_column(heading, justify="right")
    for name, count in rows.items():
        ratio = "" if name == OURS else f"{result[f'cheaper_than_{name}']:.1f}x"
        peak = max(cost.peak_bytes for cost in costs[name]) / 1e9
        table.add_row(NAMES[name], f"{count:,}", f"{result[f'microseconds_{name}']:.2f}", ratio, f"{peak:.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"ours: {result['rows_per_second_core']:,.0f} rows a second of one core; "
        f"two workers {result['two_workers_speedup']:.2f}x one; at most {result['peak_gigabytes']:.2f} GB a process\n"
        "Peers' imports do not count, but what else they do once does: take them on a million rows or more.",
        highlight=False,
        soft_wrap=True,
    )


def main() -> None:
    """Prints the table, and writes the numbers as JSON on request."""
    parser = argparse.ArgumentParser(description="CPU time a row of the preprocessing, against scripts of polars and of Beam.")
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of ours (default 5,000,000)")
    parser.add_argument("--peer-rows", type=int, help="rows of the polars scripts (default: as ours)")
    parser.add_argument("--beam-rows", type=int, default=1_000_000, help="rows of Beam by rows, if fewer (default 1,000,000)")
    parser.add_argument("--repeats", type=int, default=3)
    add_json_option(parser)
    arguments = parser.parse_args()
    peer_rows = arguments.peer_rows or arguments.rows
    rows = {OURS: arguments.rows, **dict.fromkeys(installed_peers(), peer_rows)}
    rows["beam_rows"] = min(peer_rows, arguments.beam_rows)
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(rows, arguments.repeats, Path(folder))
    result = summarize(rows, costs)
    show(rows, costs, result)
    write_numbers(arguments.json, result)


if __name__ == "__main__":
    main()
