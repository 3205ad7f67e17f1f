"""Rows of logs, checked: labels, numbers and splits of the good ones, and what is wrong with the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.columns import Numbers, Texts, is_empty, is_not_utf8, parse_numbers
from pipelines.checking.split import assign_splits, split_numbers, split_texts
from tf_crossdistil.config import Experiment, NumericFeature, Task

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_WORDS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Fault:
    """What is wrong with some rows: the reason's code, the column, what it must hold, and the rows' positions."""

    reason: str
    column: str
    expected: str
    rows: NDArray[np.int64]

    def message(self, received: object) -> str:
        """One sentence about a row."""
        return f"column '{self.column}' must hold {self.expected}; received {received!r}"


@dataclass
class Rows:
    """A block of rows, each array `[rows]`. Where `fault_of` is not -1 the row is bad and its other values mean nothing."""

    texts: dict[str, Texts] = field(default_factory=dict)
    numbers: dict[str, Numbers] = field(default_factory=dict)
    labels: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    splits: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    faults: list[Fault] = field(default_factory=list)
    fault_of: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which rows are records."""
        return self.fault_of < 0


class Validator:
    """Applies the rules of an experiment to blocks of columns."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        numeric = [feature.source_column for feature in experiment.features if isinstance(feature, NumericFeature)]
        truths = [task.truth for task in experiment.tasks if task.truth]
        self._texts = [feature.source_column for feature in experiment.features if not isinstance(feature, NumericFeature)]
        self._texts += split_texts(experiment.split)
        self._required = dict.fromkeys([*truths, *split_numbers(experiment.split)])
        self._numbers = dict.fromkeys([*numeric, *self._required])
        self.columns = list(dict.fromkeys([*(task.column for task in experiment.tasks), *self._texts, *self._numbers]))

    def __call__(self, block: Mapping[str, Any]) -> Rows:
        """Checks a block, given as `pa.Array` `[rows]` by column."""
        texts = {name: Texts.of(block[name]) for name in dict.fromkeys(self._texts)}
        labels = {task.column: texts.get(task.column) or Texts.of(block[task.column]) for task in self._experiment.tasks}
        numbers = {name: Numbers.of(block[name]) for name in self._numbers}
        faults = [_not_utf8(name, column) for name, column in {**labels, **texts}.items()]
        codes = []
        for task in self._experiment.tasks:
            label, wrong = _read_label(task, labels[task.column])
            codes.append(label)
            faults += wrong
        for name, column in numbers.items():
            faults += _check_numbers(name, column, block[name], required=name in self._required)
        faults = [fault for fault in faults if len(fault.rows)]
        return Rows(
            texts=texts,
            numbers=numbers,
            labels=np.stack(codes, axis=1),
            splits=assign_splits(self._experiment.split, texts, numbers),
            faults=faults,
            fault_of=_first_faults(faults, len(codes[0])),
        )


def _first_faults(faults: Sequence[Fault], rows: int) -> NDArray[np.int16]:
    result = np.full(rows, -1, np.int16)
    for position, fault in reversed(list(enumerate(faults))):
        result[fault.rows] = position
    return result


def _not_utf8(column: str, texts: Texts) -> Fault:
    return Fault("not_utf8", column, "text in UTF-8", texts.rows_where(is_not_utf8(texts.values)))


def _check_numbers(column: str, numbers: Numbers, stored: Any, required: bool) -> list[Fault]:
    bad = ~(np.abs(numbers.values) <= _LARGEST_FLOAT32) if not required else ~np.isfinite(numbers.values)
    if not required:
        bad &= ~numbers.missing
    rows = np.flatnonzero(bad)
    if not len(rows):
        return []
    texts = Texts.of(stored)
    marked = is_not_utf8(texts.values)[texts.codes[rows]]
    return [
        Fault("not_utf8", column, "text in UTF-8", rows[marked]),
        Fault("not_a_number", column, "a finite number", rows[~marked]),
    ]


def _is_binary(task: Task, values: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    numbers = parse_numbers(values)
    if np.isnan(numbers).any():
        words = np.array([_WORDS.get(text, np.nan) for text in values.to_pylist()])
        numbers = np.where(np.isnan(numbers), words, numbers)
    return (numbers == 1).astype(np.uint8), (numbers != 0) & (numbers != 1)


def _is_positive_value(task: Task, values: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    positive = task.positive
    expected = str(positive).lower() if isinstance(positive, bool) else str(positive).strip()
    equal = np.array([text == expected for text in values.to_pylist()], bool)
    if isinstance(positive, int | float) and not isinstance(positive, bool):
        equal |= parse_numbers(values) == positive
    return equal.astype(np.uint8), np.zeros(len(values), bool)


def _reaches(task: Task, values: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    numbers = parse_numbers(values)
    return (numbers >= (task.at_least or 0.0)).astype(np.uint8), ~np.isfinite(numbers)


@dataclass(frozen=True)
class _LabelRule:
    """Reads distinct values as labels and says which are none; `reason` and `expected` describe those."""

    read: Callable[[Task, Any], tuple[NDArray[np.uint8], NDArray[np.bool_]]]
    reason: str
    expected: str


_BINARY = _LabelRule(_is_binary, "label_not_binary", "0 or 1 (or give the task 'positive' or 'at_least')")
_RULES = {
    "positive": _LabelRule(_is_positive_value, "", ""),
    "at_least": _LabelRule(_reaches, "not_a_number", "a finite number"),
}


def _read_label(task: Task, texts: Texts) -> tuple[NDArray[np.uint8], list[Fault]]:
    rule = next((rule for name, rule in _RULES.items() if getattr(task, name) is not None), _BINARY)
    label, wrong = rule.read(task, texts.values)
    missing = is_empty(texts.values)
    faults = [
        Fault("label_missing", task.column, f"the label of task '{task.name}'", texts.rows_where(missing)),
        Fault(rule.reason, task.column, rule.expected, texts.rows_where(wrong & ~missing)),
    ]
    return label[texts.codes], faults
