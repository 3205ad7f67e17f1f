# SPDX-License-Identifier: Apache-2.0
"""Reading labels: 0 or 1, one value against the others, a threshold, or a number; and which rows have them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.columns import Columns, is_empty, parse_numbers
from pipelines.checking.faults import Fault, number_faults
from tf_crossdistil.config import Task

_WORDS = {"true": 1.0, "false": 0.0}


def _is_binary(task: Task, values: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    numbers = parse_numbers(values)
    if np.isnan(numbers).any():
        words = np.array([_WORDS.get(text.lower(), np.nan) for text in values.to_pylist()])
        numbers = np.where(np.isnan(numbers), words, numbers)
    return numbers == 1, (numbers != 0) & (numbers != 1)


def _is_positive_value(task: Task, values: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    positive = task.positive
    expected = str(positive).lower() if isinstance(positive, bool) else str(positive).strip()
    equal = np.array([text == expected for text in values.to_pylist()], bool)
    if isinstance(positive, int | float) and not isinstance(positive, bool):
        equal |= parse_numbers(values) == positive
    return equal, np.zeros(len(values), bool)


def _reaches(task: Task, values: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    numbers = parse_numbers(values)
    return numbers >= (task.at_least or 0.0), ~np.isfinite(numbers)


@dataclass(frozen=True)
class _LabelRule:
    """Says which distinct values are positive and which are no label; `reason` and `expected` describe those."""

    read: Callable[[Task, Any], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    reason: str
    expected: str


_BINARY = _LabelRule(_is_binary, "label_not_binary", "0 or 1 (or give the task 'positive' or 'at_least')")
_RULES = {
    "positive": _LabelRule(_is_positive_value, "", ""),
    "at_least": _LabelRule(_reaches, "not_a_number", "a finite number"),
}


def read_labels(tasks: Sequence[Task], columns: Columns) -> tuple[NDArray[np.float32], list[Fault]]:
    """The labels `[rows, tasks]`, NaN where one is missing, and what is wrong with rows."""
    labels: dict[str, NDArray[np.float32]] = {}
    faults: dict[str, list[Fault]] = {}
    conditions = {task.name: task.given for task in tasks}
    for task in sorted(tasks, key=lambda task: _conditions_above(task.name, conditions)):
        meant = None if task.given is None else labels[task.given] == 1
        labels[task.name], faults[task.name] = _read_label(task, columns, meant)
    # Each column in one piece, since it is columns that are worked on.
    return np.stack([labels[task.name] for task in tasks]).T, [fault for task in tasks for fault in faults[task.name]]


def _conditions_above(task: str, conditions: Mapping[str, str | None]) -> int:
    condition = conditions[task]
    return 0 if condition is None else 1 + _conditions_above(condition, conditions)


def _read_label(task: Task, columns: Columns, meant: NDArray[np.bool_] | None) -> tuple[NDArray[np.float32], list[Fault]]:
    """The label `[rows]` of a task, and what is wrong with rows; where it is not `meant`, it is missing."""
    label, missing, faults = _READERS[task.kind](task, columns)
    if not task.optional:
        expected = f"the label of task '{task.name}' (or give the task 'optional: true')"
        faults = [Fault("label_missing", task.column, expected, missing), *faults]
    if meant is None:
        return label, faults
    return np.where(meant, label, np.float32("nan")), [replace(fault, rows=fault.rows[meant[fault.rows]]) for fault in faults]


# The label `[rows]`, NaN where there is none; the rows where it is missing; and what is wrong with others.
_Label = tuple[NDArray[np.float32], NDArray[np.int64], list[Fault]]


def _read_class(task: Task, columns: Columns) -> _Label:
    texts = columns.texts(task.column)
    rule = next((rule for name, rule in _RULES.items() if getattr(task, name) is not None), _BINARY)
    positive, wrong = rule.read(task, texts.values)
    missing = is_empty(texts.values)
    label = np.where(missing | wrong, np.float32("nan"), positive.astype(np.float32))[texts.codes]
    faults = [Fault(rule.reason, task.column, rule.expected, texts.rows_where(wrong & ~missing))]
    return label, texts.rows_where(missing), faults


def _read_number(task: Task, columns: Columns) -> _Label:
    numbers = columns.numbers(task.column)
    # What is beyond a float is a fault, so that it may overflow.
    with np.errstate(over="ignore"):
        label = numbers.values.astype(np.float32)
    return label, np.flatnonzero(numbers.missing), number_faults(task.column, columns, required=False)


_READERS: dict[str, Callable[[Task, Columns], _Label]] = {"binary": _read_class, "regression": _read_number}
