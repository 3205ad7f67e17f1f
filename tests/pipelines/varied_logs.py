# SPDX-License-Identifier: Apache-2.0
"""Logs in several files with every kind of feature and some bad rows: enough for several ranges, and several blocks in one.

The sizes of ranges and blocks are constants of the package, which other processes have too; so the logs are made to them.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

SECTIONS: dict[str, Any] = {
    "name": "varied",
    "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "stars", "at_least": 4}],
    "features": [
        {"name": "user", "kind": "categorical", "min_count": 2, "oov_buckets": 3},
        {"name": "city", "kind": "categorical", "max_size": 30},
        {"name": "home", "kind": "categorical", "share_with": "city"},
        {"name": "words", "kind": "multi_value", "max_length": 4, "weights": "strengths", "min_count": 3},
        {"name": "item", "kind": "hashed", "buckets": 1000},
        {"name": "age", "kind": "numeric", "transform": "standardize", "default": -1.5},
        {"name": "at", "kind": "numeric", "transform": "bucketize", "buckets": 8},
    ],
    "split": {"by": "hash", "key": ["user"], "fractions": [0.8, 0.1, 0.1]},
}
COLUMNS = ["at", "user", "city", "home", "words", "strengths", "item", "age", "finish", "stars"]
BAD_ROW = b"0,u,c,c,w1|w2,1,i,1,0,1"
LARGE, SMALL = 140_000, 6_000


def log_lines(first: int, rows: int) -> list[bytes]:
    """Rows numbered from `first` in the column `at`, sorted by it; every 500th is bad."""
    draws = np.random.default_rng(first)
    users = draws.zipf(1.3, rows) % 5000
    cities = draws.integers(0, 60, (rows, 2))
    lengths = draws.integers(0, 7, rows)
    words = draws.integers(0, 200, (rows, 6))
    numbers = draws.random((rows, 7))
    stars = draws.integers(0, 6, rows)
    lines = []
    for row in range(rows):
        listed = "|".join(f"wörd {word}" for word in words[row, : lengths[row]])
        weights = "|".join(f"{weight:.2f}" for weight in numbers[row, : lengths[row]]) if row % 3 else ""
        age = f"{90 * numbers[row, 6]:.1f}" if row % 7 else ""
        places = f"Zürich {cities[row, 0]},{f'Zürich {cities[row, 1]}' if row % 5 else ''}"
        line = f"{first + row},u{users[row]},{places},{listed},{weights},i{row},{age},{row // 3 % 2},{stars[row]}"
        lines.append(BAD_ROW if row % 500 == 499 else line.encode())
    return lines


def write_logs(folder: Path, large: int = LARGE) -> str:
    """Writes the logs, `large` rows in the first file, and returns the pattern that matches them."""
    header = ",".join(COLUMNS).encode()
    first = 0
    for name, rows in (("a.csv", large), ("b.csv.gz", SMALL), ("c.csv", SMALL), ("d.csv.gz", SMALL), ("e.csv", SMALL)):
        content = b"\n".join([header, *log_lines(first, rows)]) + b"\n"
        (folder / name).write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
        first += rows
    return f"{folder}/*.csv*"
