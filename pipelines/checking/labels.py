"""Reading labels: 0 or 1, one value against the others, or a threshold; and which rows have them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.columns import Columns, Texts, is_empty, parse_numbers
from pipelines.checking.faults import Fault
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
        labels[task.name], faults[task.name] = _read_label(task, columns.texts(task.column), meant)
    # Each column in one piece, since it is columns that are worked on.
    return np.stack([labels[task.name] for task in tasks]).T, [fault for task in tasks for fault in faults[task.name]]


def _conditions_above(task: str, conditions: Mapping[str, str | None]) -> int:
    condition = conditions[task]
    return 0 if condition is None else 1 + _conditions_above(condition, conditions)


def _read_label(task: Task, texts: Texts, meant: NDArray[np.bool_] | None) -> tuple[NDArray[np.float32], list[Fault]]:
    """The label `[rows]` of a task, and what is wrong with rows; where it is not `meant`, it is missing."""
    rule = next((rule for name, rule in _RULES.items() if getattr(task, name) is not None), _BINARY)
    positive, wrong = rule.read(task, texts.values)
    missing = is_empty(texts.values)
    label = np.where(missing | wrong, np.float32("nan"), positive.astype(np.float32))[texts.codes]

    def meant_rows(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        rows = texts.rows_where(chosen)
        return rows if meant is None else rows[meant[rows]]

    faults = [Fault(rule.reason, task.column, rule.expected, meant_rows(wrong & ~missing))]
    if not task.optional:
        expected = f"the label of task '{task.name}' (or give the task 'optional: true')"
        faults.insert(0, Fault("label_missing", task.column, expected, meant_rows(missing)))
    return label if meant is None else np.where(meant, label, np.float32("nan")), faults
