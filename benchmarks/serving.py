# SPDX-License-Identifier: Apache-2.0
"""How fast exported models answer, beside the model that was trained and beside what people would export instead.

python -m benchmarks.serving --only latency --json serving.json

`latency`: the exported students against everything that training has, students, teachers and optimizers, in a SavedModel with
the same look-ups, and against DeepCTR's plain PLE, saved as its documentation saves models: the same features, vocabularies of
500,000 entries in all, embeddings of 16, experts, towers. DeepCTR takes ids; `export` takes raw texts and finds their ids
itself, which `ids`, the same students given ids, does not. Each model is in a version-1 session with one thread, in a process
of its own that is pinned to one core; the processes answer by turns, the same rows in batches of 1, 64 and 512.

`large`: the export of a run with 5,000,000 vocabulary entries, with all its checks, its load right after by the version-1
loader, while the files are in the system's cache, and what look-ups add to a batch of 64, `lookup_overhead_64`.

`memory`: what a first and a second version of an export with 1,000,000 vocabulary entries take in one process, and how long
calls with the same row again and again take beside those with different ones.

A `latency_over` is the median over the rounds of the quotient of each round's medians. Weights are untrained.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.environments import peer_python
from benchmarks.parts import Part, run_parts
from benchmarks.processes import run
from benchmarks.serving_turns import Served, Turns, take_turns

BATCHES = (1, 64, 512)
PEER = "deepctr"
# DeepCTR fails with any other.
KERAS_2 = ("env", "TF_USE_LEGACY_KERAS=1")


def measure_latency(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Latency and size of everybody."""
    _make_models(folder, arguments.entries, "export", "ids", "training_model")
    models = {kind: _served(folder, kind) for kind in ("export", "ids", "training_model")}
    python = peer_python(PEER, install=not arguments.no_install)
    if python is not None:
        command = [*KERAS_2, str(python), "-m", "benchmarks.serving_peers.deepctr_ple"]
        run([*command, str(folder / "job.json"), str(folder / PEER / "1")], os.sched_getaffinity(0))
        models[PEER] = Served(folder / PEER / "1", folder / "ids.npz", python)
    turns = take_turns(models, BATCHES, arguments.rounds, arguments.calls)
    sizes = {name: served.bytes for name, served in models.items()}
    others = [name for name in ("training_model", PEER) if name in models]
    result = {
        f"latency_over_{other}_{batch}": turns["export"].latency[batch].over(turns[other].latency[batch])
        for other in others
        for batch in BATCHES
    }
    result |= {f"size_over_{other}": sizes["export"] / sizes[other] for other in others}
    if python is not None:
        for batch in BATCHES:
            result[f"latency_ids_over_{PEER}_{batch}"] = turns["ids"].latency[batch].over(turns[PEER].latency[batch])
    result |= _milliseconds(turns, BATCHES)
    return result | {f"megabytes_{name}": size / 1e6 for name, size in sizes.items()}


def measure_large(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Export, load and look-ups of large vocabularies."""
    seconds = _make_models(folder, arguments.large_entries, "export", "ids")
    models = {kind: _served(folder, kind) for kind in ("export", "ids")}
    batch = 64
    turns = take_turns(models, [batch], arguments.rounds, arguments.calls)
    return {
        "export_seconds_5m": seconds["export"],
        "load_seconds_5m": turns["export"].load_seconds,
        f"lookup_overhead_{batch}": turns["export"].latency[batch].over(turns["ids"].latency[batch]),
        "load_seconds_5m_ids": turns["ids"].load_seconds,
        "megabytes_5m": models["export"].bytes / 1e6,
        **{f"{key}_5m": value for key, value in _milliseconds(turns, [batch]).items()},
    }


def measure_memory(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Memory of two versions, and calls with one row again and again."""
    _make_models(folder, arguments.memory_entries, "export")
    model = _served(folder, "export")
    command = [sys.executable, "-m", "benchmarks.serving_memory", str(model.model), str(model.requests)]
    numbers = json.loads(run(command, {min(os.sched_getaffinity(0))}).output.splitlines()[-1])
    return {"megabytes_version": model.bytes / 1e6, **numbers}


def _make_models(folder: Path, entries: int, *kinds: str) -> dict[str, float]:
    """Writes SavedModels by a process of its own, and gives the seconds that each took."""
    command = [sys.executable, "-m", "benchmarks.serving_models", str(folder), str(entries), *kinds]
    return json.loads(run(command, {min(os.sched_getaffinity(0))}).output.splitlines()[-1])


def _served(folder: Path, kind: str) -> Served:
    return Served(folder / kind / "1", folder / ("ids.npz" if kind == "ids" else "raw.npz"))


def _milliseconds(turns: dict[str, Turns], batches: Iterable[int]) -> dict[str, float]:
    result: dict[str, float] = {}
    for batch in batches:
        for name, each in turns.items():
            latency = each.latency[batch]
            result |= {f"milliseconds_p{percent}_{name}_{batch}": latency.milliseconds(percent) for percent in (50, 99)}
            result[f"cpu_milliseconds_{name}_{batch}"] = latency.cpu_milliseconds
    return result


PARTS: dict[str, Part] = {"latency": measure_latency, "large": measure_large, "memory": measure_memory}


def main() -> None:
    """Prints the table, and writes the numbers as JSON on request."""
    parser = argparse.ArgumentParser(description="Latency and size of exported models, beside DeepCTR's.")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each model with each batch size (default 40)")
    parser.add_argument("--calls", type=int, default=50, help="of a turn (default 50)")
    parser.add_argument("--entries", type=int, default=500_000, help="of all vocabularies for latency (default 500,000)")
    parser.add_argument("--large-entries", type=int, default=5_000_000, help="those of `large` (default 5,000,000)")
    parser.add_argument("--memory-entries", type=int, default=1_000_000, help="those of `memory` (default 1,000,000)")
    parser.add_argument("--no-install", action="store_true", help="leave out DeepCTR where its environment is not there")
    run_parts(parser, PARTS, "serving on one core")


if __name__ == "__main__":
    main()
