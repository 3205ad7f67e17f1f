# SPDX-License-Identifier: Apache-2.0
"""What each version of a model takes of a server's memory, and what one popular row saves over different ones.

python -m benchmarks.serving_memory MODEL REQUESTS

loads the SavedModel twice, as a server does that changes versions, and prints the numbers as JSON.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.serving_session import Session

_BATCHES = (64, 1024)
_CALLS = 10
_ROUNDS = 20


def resident_bytes() -> int:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def write_rows(requests: Path, folder: Path) -> dict[str, Path]:
    """Different rows, and one of them repeated; no more than the largest batch has, which is next to nothing beside a model."""
    size = max(_BATCHES)
    with np.load(requests) as columns:
        rows = {name: values[:size] for name, values in columns.items()}
    kinds: dict[str, dict[str, Any]] = {
        "different": rows,
        "same": {name: np.repeat(values[:1], size, axis=0) for name, values in rows.items()},
    }
    for kind, given in kinds.items():
        np.savez(folder / f"{kind}.npz", **given)
    return {kind: folder / f"{kind}.npz" for kind in kinds}


def measure(model: Path, requests: dict[str, Path]) -> dict[str, float]:
    """Memory of two versions, answers to the largest batches included, then the time of calls by turns."""
    sessions, memory = [], [resident_bytes()]
    for rows in requests.values():
        sessions.append(Session(model, rows))
        for batch in _BATCHES:
            sessions[-1].time(batch, _CALLS)
        memory.append(resident_bytes())
    result = {
        "megabytes_memory_first_version": (memory[1] - memory[0]) / 1e6,
        "megabytes_memory_second_version": (memory[2] - memory[1]) / 1e6,
    }
    for batch in _BATCHES:
        seconds: dict[str, list[float]] = {name: [] for name in requests}
        order = list(zip(requests, sessions, strict=True))
        for _ in range(_ROUNDS):
            order.reverse()
            for name, session in order:
                seconds[name] += session.time(batch, _CALLS)["seconds"]
        result |= {f"milliseconds_{batch}_{name}_rows": 1000 * median(values) for name, values in seconds.items()}
    return result


def main() -> None:
    """Prints the numbers."""
    parser = argparse.ArgumentParser(description="Memory of a model's versions, and the time of one row asked again and again.")
    parser.add_argument("model", type=Path)
    parser.add_argument("requests", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments.model, write_rows(arguments.requests, Path(folder)))))


if __name__ == "__main__":
    main()
