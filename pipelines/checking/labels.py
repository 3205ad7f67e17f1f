"""Reading labels: 0 or 1, one value against the others, or a threshold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.columns import Texts, is_empty, parse_numbers
from pipelines.checking.faults import Fault
from tf_crossdistil.config import Task

_WORDS = {"true": 1.0, "false": 0.0}


def _is_binary(task: Task, values: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    numbers = parse_numbers(values)
    if np.isnan(numbers).any():
        words = np.array([_WORDS.get(text.lower(), np.nan) for text in values.to_pylist()])
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


def read_label(task: Task, texts: Texts) -> tuple[NDArray[np.uint8], list[Fault]]:
    """The label `[rows]` of a task, and what is wrong with rows that have none."""
    rule = next((rule for name, rule in _RULES.items() if getattr(task, name) is not None), _BINARY)
    label, wrong = rule.read(task, texts.values)
    missing = is_empty(texts.values)
    faults = [
        Fault("label_missing", task.column, f"the label of task '{task.name}'", texts.rows_where(missing)),
        Fault(rule.reason, task.column, rule.expected, texts.rows_where(wrong & ~missing)),
    ]
    return label[texts.codes], faults
