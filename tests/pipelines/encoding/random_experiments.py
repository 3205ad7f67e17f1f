# SPDX-License-Identifier: Apache-2.0
"""Random experiments over messy rows."""

import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sources.blocks import Block
from tf_crossdistil.config import Experiment

Make = Callable[..., Experiment]
WORDS = ["a", " b ", "c", "été", "日", "a b", "x\ny", "", " ", None, "d", "e"]
NUMBERS = ["0", "1.5", " -3 ", "1e3", "", None, "nan", "1e39", "x", "7"]
VALUES: dict[str, list[Any]] = {
    "binary": ["0", "1", "true", "false", " 1.0 ", "0", "1", "0", "1", "", "2", None, "yes"],
    "positive": ["yes", "no", "yes", "maybe", "", "5", "5.0", None],
    "at_least": ["1", "4", "9", "3.99", "", "four", "1e1", "inf"],
    "regression": ["4.5", " -3 ", "1e3", "", None, "nan", "inf", "1e39", "-1e39", "four"],
    "hash": ["k1", "k2", "k3", "k4", None],
    "time": ["1", "5", "9", "", "noon", "3.5"],
    "calendar": ["2026-01-01", "2026-01-05T12:00:00+14:00", "2026-01-09", "never", "2026-01-05 00:00", None],
    "column": ["train", "validation", " test ", "train", "train", "other", ""],
    "weight": ["", None, "-1", "nan", "inf", "1e39", "x"],
}
RULES: dict[str, dict[str, Any]] = {
    "binary": {},
    "positive": {"positive": "yes"},
    "at_least": {"at_least": 4},
    "regression": {"kind": "regression"},
}
SPLIT_SECTIONS: dict[str, dict[str, Any]] = {
    "hash": {"by": "hash", "key": ["split", "c0"], "fractions": [0.6, 0.2, 0.2]},
    "time": {"by": "time", "column": "split", "boundaries": [4, 6]},
    "calendar": {"by": "time", "column": "split", "boundaries": ["2026-01-03", "2026-01-05T00:00:00"]},
    "column": {"by": "column", "column": "split"},
}


class Case:
    """A random experiment and random rows, as Python values by column.

    A task may be given any binary one that is drawn before it, and a regression task may share a column with a threshold.
    """

    def __init__(self, rng: random.Random, make: Make) -> None:
        self.rules = [rng.choice(list(RULES)) for _ in range(rng.randint(0, 4))]
        self.rules.insert(rng.randint(0, len(self.rules)), rng.choice(["binary", "positive", "at_least"]))
        self.split = rng.choice(list(SPLIT_SECTIONS))
        self.kinds = ["categorical", *rng.choices(["categorical", "multi_value", "hashed", "numeric"], k=rng.randint(1, 5))]
        self.columns: dict[str, list[Any]] = {}
        rows = rng.randint(20, 120)
        owners: list[str] = []
        features = []
        for number, kind in enumerate(self.kinds):
            section: dict[str, Any] = {"name": f"f{number}", "column": f"c{number}", "kind": kind}
            if kind in ("categorical", "multi_value"):
                if owners and rng.random() < 0.3:
                    section["share_with"] = rng.choice(owners)
                else:
                    section |= {"min_count": rng.randint(1, 2), "oov_buckets": rng.randint(1, 3)}
                    section |= {"max_size": rng.choice([None, 3])}
                    owners.append(section["name"])
            if kind == "multi_value":
                section["max_length"] = rng.randint(1, 4)
                if rng.random() < 0.5:
                    section["weights"] = f"w{number}"
                    self.columns[f"w{number}"] = []
            if kind == "hashed":
                section["buckets"] = rng.choice([1, 7, 10**6, 2**62])
            if kind == "numeric":
                section["default"] = -1.5
            features.append(section)
            self.columns[f"c{number}"] = self._column(rng, kind, rows, f"w{number}")
        for number, rule in enumerate(self.rules):
            self.columns[f"t{number}"] = [
                rng.choice(VALUES[rule]) if rng.random() < 0.3 else good(rng, rule) for _ in range(rows)
            ]
        self.columns["split"] = rng.choices(VALUES[self.split], k=rows)
        sections = {"tasks": self._tasks(rng), "features": features, "split": SPLIT_SECTIONS[self.split]}
        if rng.random() < 0.4:
            sections["sample_weight"] = "weight"
            kinds = (VALUES["weight"], [" 1", "0", "0.3", "1e3"])
            self.columns["weight"] = [rng.choice(kinds[rng.random() < 0.9]) for _ in range(rows)]
        self.experiment = make(**sections)
        self.rows = rows

    def _tasks(self, rng: random.Random) -> list[dict[str, Any]]:
        tasks = [{"name": f"task{n}", "column": f"t{n}", **RULES[rule]} for n, rule in enumerate(self.rules)]
        thresholds = [task["column"] for task in tasks if "at_least" in task]
        conditions: list[str] = []
        for task in rng.sample(tasks, len(tasks)):
            task["optional"] = rng.random() < 0.3
            if conditions and rng.random() < 0.4:
                task["given"] = rng.choice(conditions)
            if "kind" not in task:
                conditions.append(task["name"])
            elif thresholds and rng.random() < 0.5:
                task["column"] = rng.choice(thresholds)
        return tasks

    def _column(self, rng: random.Random, kind: str, rows: int, weights: str) -> list[Any]:
        if kind != "multi_value":
            return rng.choices(NUMBERS if kind == "numeric" else WORDS, k=rows)
        lists: list[Any] = [rng.choice([None, [], rng.choices(WORDS, k=rng.randint(1, 6))]) for _ in range(rows)]
        if weights in self.columns:
            count = [len(values or []) + (rng.random() < 0.05) for values in lists]
            self.columns[weights] = [
                rng.choice(
                    [None, [rng.choice([0.5, 2.0, 0.0, 1.0, rng.choice([-1.0, None, math.inf, 1.0])]) for _ in range(n)]]
                )
                for n in count
            ]
        elif rng.random() < 0.5:
            return [None if values is None else "|".join(value or "" for value in values) for values in lists]
        return lists

    def blocks(self, sizes: list[int]) -> list[Block]:
        arrays = {name: pa.array(values) for name, values in self.columns.items()}
        bounds = [0, *np.cumsum(sizes).tolist(), self.rows]
        return [
            Block({name: array[first:end] for name, array in arrays.items()}, np.arange(first, end))
            for first, end in pairwise(bounds)
        ]


def good(rng: random.Random, rule: str) -> str:
    values = {"binary": ["0", "1"], "positive": ["yes", "no"], "at_least": ["1", "9"], "regression": ["-2.5", "0", "0.1", "7"]}
    return rng.choice(values[rule])
