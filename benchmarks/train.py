# SPDX-License-Identifier: Apache-2.0
"""What a training step costs, and how fast training is beside what people would use instead.

python -m benchmarks.train --only step --json train.json

`step`: a step of CrossDistil against one of the plain PLE backbone (`distillation.method: none`) on the same 4096 natural
rows, with 128 rows drawn from each stratum, at TikTok's table sizes. `tables`: a step of CrossDistil with 20,000,000 embedding
rows against one with 10,000, and the peak memory of the process over that of the embedding tables, `memory_over_tables`; in
`memory_over_tables_beyond_small` the memory of the small process, which is mostly TensorFlow's own, is taken off. Both parts
run two processes, pinned to one core, that take a few steps each in turn; batches are in memory already.

`peers`: examples a second of processor time of CrossDistil against those of plain PLE without distillation by DeepCTR and by
torch-rechub, at 4,700,000 embedding rows and at 33,000: the same rows and ids, batches of 4096, embeddings of 16, experts,
towers and dropout. Each trains one epoch in a process of its own that is pinned to one core; they take turns. From opening the
files to the last step everything counts but what is done once: importing libraries, making the model, its first step. We read
gzip TFRecords; peers read a parquet file of ready ids into memory and train as their libraries' multi-task examples do, with
Adam. They have fewer rows at the large size, where all their steps cost the same. Not wall time: TensorFlow may hold up the end
of Keras' `fit` for as long as it ran, which in a short run would be half of a peer's time. Everywhere medians count.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import Progress

from benchmarks.environments import PEERS, peer_python
from benchmarks.parts import Part, run_parts
from benchmarks.processes import run
from benchmarks.training_data import prepared_logs
from benchmarks.training_peers.job import Answer
from benchmarks.training_turns import Turns, take_turns

OURS = "ours"
SIZES = {"4_7m": 4_700_000, "33k": 33_000}
SMALLEST, LARGEST = 10_000, 20_000_000
DIM = 16


def measure_step(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """CrossDistil's step and the plain backbone's."""
    total = min(SIZES["4_7m"], arguments.most_table_rows)
    prepared = prepared_logs(folder, arguments.step_rows, total)
    turns = take_turns({method: [str(prepared), str(total), method] for method in ("crossdistil", "none")}, arguments.turns)
    ours, plain = (_milliseconds(turns[method]) for method in ("crossdistil", "none"))
    return {
        "step_crossdistil_over_plain": ours / plain,
        "step_milliseconds_crossdistil": ours,
        "step_milliseconds_plain": plain,
    }


def measure_tables(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """CrossDistil's step and memory with small and with large tables."""
    sizes = (SMALLEST, min(LARGEST, arguments.most_table_rows))
    jobs = {
        str(total): [str(prepared_logs(folder / str(total), arguments.step_rows, total)), str(total), "crossdistil"]
        for total in sizes
    }
    small, large = take_turns(jobs, arguments.turns).values()
    return {
        "step_at_20m_over_10k": _milliseconds(large) / _milliseconds(small),
        "memory_over_tables": large.peak_bytes / large.table_bytes,
        "memory_over_tables_beyond_small": (large.peak_bytes - small.peak_bytes) / large.table_bytes,
        "step_milliseconds_20m": _milliseconds(large),
        "step_milliseconds_10k": _milliseconds(small),
        "table_gigabytes_20m": large.table_bytes / 1e9,
        "peak_gigabytes_20m": large.peak_bytes / 1e9,
        "peak_gigabytes_10k": small.peak_bytes / 1e9,
    }


def measure_peers(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Examples a second of processor time of everybody at each size.

    Raises:
        RuntimeError: someone's loss did not fall, which is no training.
    """
    pythons = {peer: peer_python(peer, install=not arguments.no_install) for peer in PEERS}
    commands: dict[tuple[str, str], list[str]] = {}
    for size, rows in SIZES.items():
        total = min(rows, arguments.most_table_rows)
        there = folder / size
        prepared = prepared_logs(there, arguments.rows, total, DIM)
        peer_rows = arguments.slow_rows if size == "4_7m" else arguments.rows
        given = [sys.executable, "-m", "benchmarks.training_rows", str(prepared), str(total), str(DIM), str(peer_rows)]
        run([*given, str(there)], os.sched_getaffinity(0))
        commands[OURS, size] = [sys.executable, "-m", "benchmarks.training_loop", str(prepared), str(total), str(DIM)]
        for peer, python in pythons.items():
            if python is not None:
                command = [str(python), "-m", f"benchmarks.training_peers.{peer}_ple", str(there / "job.json")]
                commands[peer, size] = command
    answers: dict[tuple[str, str], list[Answer]] = {who: [] for who in commands}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=arguments.repeats * len(commands))
        for _ in range(arguments.repeats):
            for who, command in commands.items():
                progress.update(task, description=" ".join(who))
                answers[who].append(_answer(who, command))
                progress.advance(task)
    return _compare(answers)


def _answer(who: tuple[str, str], command: list[str]) -> Answer:
    output = run(command, {min(os.sched_getaffinity(0))}).output
    answer = Answer(**json.loads(output.splitlines()[-1]))
    if not answer.loss_after < answer.loss_before:
        raise RuntimeError(f"the loss of {' '.join(who)} did not fall: {answer.loss_before} to {answer.loss_after}")
    return answer


def _compare(answers: dict[tuple[str, str], list[Answer]]) -> dict[str, float]:
    speeds = {who: median(answer.examples / answer.cpu_seconds for answer in given) for who, given in answers.items()}
    result = {
        f"examples_over_{peer}_{size}": speeds[OURS, size] / speed for (peer, size), speed in speeds.items() if peer != OURS
    }
    for (who, size), given in answers.items():
        result[f"examples_per_cpu_second_{who}_{size}"] = speeds[who, size]
        result[f"parameters_{who}_{size}"] = given[0].parameters
        # Below 1 something else had the core, or the process waited.
        result[f"busy_{who}_{size}"] = median(answer.cpu_seconds / answer.seconds for answer in given)
        result[f"loss_{who}_{size}"] = median(answer.loss_after for answer in given)
    return result


def _milliseconds(turns: Turns) -> float:
    return 1000 * median(turns.seconds)


PARTS: dict[str, Part] = {
    "step": measure_step,
    "tables": measure_tables,
    "peers": measure_peers,
}


def main() -> None:
    """Prints the table, and writes the numbers as JSON on request."""
    parser = argparse.ArgumentParser(description="Training steps, and training against DeepCTR and torch-rechub.")
    parser.add_argument("--turns", type=int, default=30, help="turns of 5 steps each (default 30)")
    parser.add_argument("--step-rows", type=int, default=170_000, help="rows that steps go round (default 170,000)")
    parser.add_argument("--rows", type=int, default=500_000, help="rows of a training loop (default 500,000)")
    parser.add_argument(
        "--slow-rows", type=int, default=100_000, help="those of peers at 4.7M embedding rows (default 100,000)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="training loops of each (default 3)")
    parser.add_argument("--most-table-rows", type=int, default=LARGEST, help="bounds all tables, for a trial")
    parser.add_argument("--no-install", action="store_true", help="leave out peers whose environment is not there")
    run_parts(parser, PARTS, "training on one core")


if __name__ == "__main__":
    main()
