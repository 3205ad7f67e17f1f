# SPDX-License-Identifier: Apache-2.0
"""Models that answer requests in turn, each in a process of its own, and how long that takes them."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.workers import Worker, worker

_COMPARED_ROWS = 256
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Served:
    """A SavedModel that is measured.

    Attributes:
        model: the SavedModel.
        requests: an npz file with its inputs by name.
        python: the interpreter of its process.
    """

    model: Path
    requests: Path
    python: Path = Path(sys.executable)

    @property
    def bytes(self) -> int:
        """Its size on disk."""
        return sum(path.stat().st_size for path in self.model.rglob("*") if path.is_file())


@dataclass
class Latency:
    """Calls of one model with batches of one size: each round's seconds by call, and its CPU seconds together."""

    seconds: list[list[float]] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def milliseconds(self, percentile: float) -> float:
        """A percentile over all calls."""
        return 1000 * float(np.percentile(np.concatenate(self.seconds), percentile))

    @property
    def cpu_milliseconds(self) -> float:
        """The CPU time of a call; where it is below the call's own, something else had the core."""
        return 1000 * sum(self.cpu_seconds) / sum(map(len, self.seconds))

    def over(self, other: "Latency") -> float:
        """How many times as long as the other's the calls take: the median over the rounds, of each round's medians."""
        return median(median(own) / median(others) for own, others in zip(self.seconds, other.seconds, strict=True))


@dataclass(frozen=True)
class Turns:
    """What was measured of one model: the latency by batch size, and the seconds that loading took."""

    latency: dict[int, Latency]
    load_seconds: float


def take_turns(models: Mapping[str, Served], batches: Sequence[int], rounds: int, calls: int) -> dict[str, Turns]:
    """Loads models in processes that are pinned to the same core, and lets them answer by turns.

    Args:
        models: by name.
        batches: sizes.
        rounds: turns of each model with each size.
        calls: of a turn.

    Raises:
        RuntimeError: a process failed; its last words are in the message.
    """
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        turns: dict[str, Turns] = {}
        for name, served in models.items():
            command = [str(served.python), "-m", "benchmarks.serving_session", str(served.model), str(served.requests)]
            workers[name] = stack.enter_context(worker(command))
            # One after another: two that load at once would take each other's time.
            turns[name] = Turns({batch: Latency() for batch in batches}, workers[name].ask("load"))
        _check_answers(workers)
        for batch in batches:
            for each in workers.values():
                each.ask(f"warm_up {batch}")
        order = list(workers)
        for _ in track(range(rounds), "requests", console=Console(stderr=True)):
            # Whoever comes after a large model finds the processor's caches full of it.
            order = [*order[1:], order[0]]
            for batch in batches:
                for name in order:
                    answer = workers[name].ask(f"time {batch} {calls}")
                    turns[name].latency[batch].seconds.append(answer["seconds"])
                    turns[name].latency[batch].cpu_seconds.append(answer["cpu_seconds"])
        return turns


def _check_answers(workers: Mapping[str, Worker]) -> None:
    """Makes sure that models of one network say the same, by whatever signature, which no benchmark of them is without."""
    ours = [name for name in ("export", "ids", "training_model") if name in workers]
    answers = {name: workers[name].ask(f"answers {_COMPARED_ROWS}") for name in ours}
    for name in ours:
        for output, rows in answers["export"].items():
            difference = float(np.abs(np.array(rows) - np.array(answers[name][output])).max())
            if not difference <= _TOLERANCE:
                raise RuntimeError(f"{name} and export differ by {difference} in {output}; at most {_TOLERANCE} was expected")
