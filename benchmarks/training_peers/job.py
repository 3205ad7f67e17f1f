# SPDX-License-Identifier: Apache-2.0
"""What a training peer is told and what it answers; imports nothing of ours, since peers have environments of their own."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """Plain PLE to train once over a parquet file of ids and numbers.

    Attributes:
        rows: the parquet file.
        tables: rows of each feature's embedding table.
        dim: of all embeddings.
        numeric: names of numeric features, ready for the network.
        labels: names of the tasks' labels, 0 or 1.
        batch_size: rows of a step.
        shared: shared experts.
        per_task: experts of each task.
        expert_units: hidden layers of an expert.
        tower_units: hidden layers of a tower.
        dropout: after each hidden layer.
    """

    rows: str
    tables: dict[str, int]
    dim: int
    numeric: list[str]
    labels: list[str]
    batch_size: int
    shared: int
    per_task: int
    expert_units: list[int]
    tower_units: list[int]
    dropout: float

    def write(self, path: Path) -> None:
        """Writes the job for `run_peer`."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True)
class Answer:
    """`examples` trained in `seconds` of reading files and training, and whether that was training at all.

    Neither the import of libraries nor making the model nor its first step counts. `cpu_seconds` are those of all threads,
    where nothing else had the core as many as `seconds`. Losses are sums over the tasks, before and after.
    """

    examples: int
    seconds: float
    cpu_seconds: float
    parameters: int
    loss_before: float
    loss_after: float
    version: str

    def print(self) -> None:
        """The last line of the output."""
        print(json.dumps(asdict(self)))


class Stopwatch:
    """A context manager that adds up the wall clock and CPU seconds within it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        self.seconds -= time.perf_counter()
        self.cpu_seconds -= time.process_time()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter()
        self.cpu_seconds += time.process_time()


def read_rows(job: Job) -> tuple[dict[str, Any], list[Any]]:
    """Features by name and labels by task, as these libraries' examples read them: a data frame, then arrays."""
    import pandas as pd

    frame = pd.read_parquet(job.rows)
    return (
        {name: frame[name].to_numpy() for name in (*job.tables, *job.numeric)},
        [frame[name].to_numpy() for name in job.labels],
    )


def run_peer(work: Callable[[Job], Answer]) -> None:
    """Runs `work` on the job in the file named on the command line."""
    parser = argparse.ArgumentParser(description="One peer of benchmarks.train.")
    parser.add_argument("job", type=Path, help="JSON file")
    work(Job(**json.loads(parser.parse_args().job.read_text(encoding="utf-8")))).print()
