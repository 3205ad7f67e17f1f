# SPDX-License-Identifier: Apache-2.0
"""The reading of a random experiment's rows, row by row in plain Python with TensorFlow's hashes."""

import math
import re
from collections import Counter, defaultdict
from datetime import datetime, timezone
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.encoding.tally import Tally
from tests.pipelines.encoding.random_experiments import Case
from tf_crossdistil.config import SPLITS, MultiValueFeature, NumericFeature, VocabularyFeature

NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
LARGEST = float(np.finfo(np.float32).max)


def text(value: Any) -> str:
    return "" if value is None else value.strip(" \t\n\r\v\f")


def number(value: str) -> float:
    return float(value) if NUMBER.fullmatch(value) else math.nan


def fingerprint(value: str) -> int:
    return int.from_bytes(tf.fingerprint([value.encode()]).numpy()[0].tobytes(), "little")


def bucket(value: str, buckets: int) -> int:
    return int(tf.strings.to_hash_bucket_fast(value.encode(), buckets).numpy())


class Oracle:
    """Reads the rows of a case one by one."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.experiment = case.experiment
        self.reasons = [self._reasons(row) for row in range(case.rows)]
        self.splits = [None if self.reasons[row] else self._split(row) for row in range(case.rows)]
        self.vocabularies = self._vocabularies()

    def _value(self, column: str, row: int) -> Any:
        return self.case.columns[column][row]

    def _label(self, position: int, row: int) -> float | str:
        """The number, NaN where it is missing, or the reason why the row is bad."""
        task, own = self.experiment.tasks[position], self._own_label(position, row)
        condition = 1.0 if task.given is None else self._label(self.experiment.task_names.index(task.given), row)
        if condition != 1:
            return math.nan
        return math.nan if own == "label_missing" and task.optional else own

    def _own_label(self, position: int, row: int) -> float | str:
        value, rule = text(self._value(self.experiment.tasks[position].column, row)), self.case.rules[position]
        if not value:
            return "label_missing"
        if rule == "regression":
            return number(value) if abs(number(value)) <= LARGEST else "not_a_number"
        if rule == "positive":
            return int(value == "yes")
        if rule == "at_least":
            return "not_a_number" if not math.isfinite(number(value)) else int(number(value) >= 4)
        binary = {"true": 1.0, "false": 0.0}.get(value, number(value))
        return int(binary) if binary in (0, 1) else "label_not_binary"

    def _split(self, row: int) -> str:
        value = text(self._value("split", row))
        if self.case.split == "hash":
            place = fingerprint(f"{value}\x1f{text(self._value('c0', row))}") / 2**64
            return SPLITS[0 if place < 0.6 else 1 if place < 0.8 else 2]
        if self.case.split == "time":
            place = number(value)
            return SPLITS[(place >= 4) + (place >= 6)] if math.isfinite(place) else "not_a_number"
        if self.case.split == "calendar":
            if not value.startswith("2026"):
                return "not_a_time"
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
            bounds = [datetime(2026, 1, day, tzinfo=timezone.utc) for day in (3, 5)]
            return SPLITS[sum(moment >= bound for bound in bounds)]
        return value if value in SPLITS else "unknown_split"

    def elements(self, feature: MultiValueFeature, row: int) -> list[tuple[str, Any]]:
        """Elements that are not empty, with their weights; a count that does not fit raises."""
        stored = self._value(feature.source_column, row)
        values = text(stored).split("|") if isinstance(stored, str) else stored or []
        weights = (feature.weights and self._value(feature.weights, row)) or [1.0] * len(values)
        return [(text(value), weight) for value, weight in zip(values, weights, strict=True) if text(value)]

    def _reasons(self, row: int) -> set[str]:
        found = {label for position in range(len(self.case.rules)) if isinstance(label := self._label(position, row), str)}
        found |= {self._split(row)} - set(SPLITS)
        if self.experiment.sample_weight:
            weight = number(text(self._value("weight", row)))
            found |= {"not_a_number"} if not abs(weight) <= LARGEST else {"negative_weight"} if weight < 0 else set()
        for feature in self.experiment.features:
            if isinstance(feature, NumericFeature):
                value = text(self._value(feature.source_column, row))
                found |= {"not_a_number"} if value and not abs(number(value)) <= LARGEST else set()
            elif isinstance(feature, MultiValueFeature):
                try:
                    weights = [weight for _, weight in self.elements(feature, row)]
                except ValueError:
                    found.add("wrong_length")
                    continue
                found |= {"not_a_number"} if any(w is None or not math.isfinite(w) for w in weights) else set()
                found |= {"negative_weight"} if any(w is not None and w < 0 for w in weights) else set()
        return found

    @property
    def can_train(self) -> bool:
        """Whether the training split has rows of two labels of each task, and a weight."""
        labels = [set(self.labels(name, "train")) for name in self.experiment.task_names]
        return all(len(found) > 1 for found in labels) and (not self.weights or any(self.weights))

    def labels(self, task: str, split: str) -> list[float]:
        """The labels of a split that are there."""
        position = self.experiment.task_names.index(task)
        labels = [float(self._label(position, row)) for row in range(self.case.rows) if self.splits[row] == split]
        return [label for label in labels if not math.isnan(label)]

    @property
    def weights(self) -> list[float]:
        """The sample weights of the training split, if there are any."""
        rows = [row for row in range(self.case.rows) if self.splits[row] == "train" and self.experiment.sample_weight]
        return [number(text(self._value("weight", row))) for row in rows]

    def values(self, feature: VocabularyFeature, row: int) -> list[str]:
        if isinstance(feature, MultiValueFeature):
            return [value for value, _ in self.elements(feature, row)][: feature.max_length]
        value = text(self._value(feature.source_column, row))
        return [value] if value else []

    def _vocabularies(self) -> dict[str, list[str]]:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        features = [feature for feature in self.experiment.features if isinstance(feature, VocabularyFeature)]
        for feature in features:
            for row in range(self.case.rows):
                counts[feature.vocabulary].update(self.values(feature, row) if self.splits[row] == "train" else [])
        result = {}
        for feature in features:
            if feature.share_with is None:
                known = {v: n for v, n in counts[feature.name].items() if n >= feature.min_count and "\n" not in v}
                result[feature.name] = sorted(known, key=lambda v: (-known[v], v.encode()))[: feature.max_size]
        return result

    def _id(self, feature: VocabularyFeature, value: str) -> int:
        known = self.vocabularies[feature.vocabulary]
        owner = self.experiment.vocabulary_owner(feature)
        return known.index(value) + 1 if value in known else len(known) + 1 + bucket(value, owner.oov_buckets)

    def record(self, row: int) -> dict[str, list[Any]]:
        result: dict[str, list[Any]] = {f"task{n}": [float(self._label(n, row))] for n in range(len(self.case.rules))}
        if self.experiment.sample_weight:
            result["sample_weight"] = [number(text(self._value("weight", row)))]
        for feature in self.experiment.features:
            if isinstance(feature, MultiValueFeature):
                kept = self.elements(feature, row)[: feature.max_length]
                result[feature.name] = [self._id(feature, value) for value, _ in kept]
                if feature.weights:
                    result[feature.weights_name] = [weight for _, weight in kept]
                continue
            value = text(self._value(feature.source_column, row))
            if isinstance(feature, NumericFeature):
                result[feature.name] = [number(value) if value else -1.5]
            elif isinstance(feature, VocabularyFeature):
                result[feature.name] = [self._id(feature, value) if value else 0]
            else:
                result[feature.name] = [bucket(value, feature.buckets)]
        return result

    def tally(self, split: str) -> Tally:
        rows = [row for row in range(self.case.rows) if self.splits[row] == split]
        tally = Tally(rows=len(rows))
        for feature in self.experiment.features:
            name, column = feature.name, self.case.columns[feature.source_column]
            tally.missing[name] = sum(not text(column[row]) for row in rows) if feature.kind != "multi_value" else 0
            if isinstance(feature, VocabularyFeature):
                values = [self.values(feature, row) for row in rows]
                known = self.vocabularies[feature.vocabulary]
                tally.missing[name] = sum(not kept for kept in values)
                tally.values[name] = sum(map(len, values))
                tally.oov[name] = sum(value not in known for kept in values for value in kept)
            if isinstance(feature, MultiValueFeature):
                tally.truncated[name] = sum(len(self.elements(feature, row)) > feature.max_length for row in rows)
        return tally
