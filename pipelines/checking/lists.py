# SPDX-License-Identifier: Apache-2.0
"""Several values a row: list columns, or text divided at a delimiter, with weights."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.checking.columns import Columns, Numbers, Texts, decoded, is_empty, is_list, is_not_utf8, is_text, untrimmed
from pipelines.checking.faults import Fault, not_float32, not_numbers, not_utf8, wrong_type
from tf_crossdistil.config import MultiValueFeature


@dataclass(frozen=True)
class Lists:
    """The values of a multi_value feature that its records keep: none is empty, and none exceeds `max_length`.

    Row r has the elements `offsets[r]` to `offsets[r + 1]`; `weights` `[elements]` where the feature has such;
    `truncated` `[rows]` tells rows that had more.
    """

    elements: Texts
    offsets: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    truncated: NDArray[np.bool_]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many elements every row has."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> "Lists":
        """The lists of some rows, in their order."""
        lengths = self.lengths[rows]
        offsets = _offsets(lengths)
        kept = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        weights = None if self.weights is None else self.weights[kept]
        return Lists(Texts(self.elements.codes[kept], self.elements.values), offsets, weights, self.truncated[rows])


def read_lists(feature: MultiValueFeature, columns: Columns) -> tuple[Lists, list[Fault]]:
    """The lists of a feature, and what is wrong with rows."""
    column = feature.source_column
    stored, lengths = _divide(columns.stored[column], feature.delimiter)
    row_of = np.repeat(np.arange(len(lengths)), lengths)
    texts = Texts.of(stored)
    faults = [
        wrong_type(column, "a list of values, or text", row_of[texts.wrong]),
        not_utf8(column, row_of[texts.rows_where(is_not_utf8(texts.values))]),
    ]
    kept = ~is_empty(texts.values)[texts.codes]
    weights = None
    if feature.weights:
        weights, wrong = _read_weights(feature, columns, lengths, kept)
        faults += wrong
    full = np.bincount(row_of[kept], minlength=len(lengths))
    truncated = full > feature.max_length
    if truncated.any():
        before = _offsets(full)
        kept &= np.cumsum(kept) - before[row_of] <= feature.max_length
    if not kept.all():
        texts = Texts(texts.codes[kept], texts.values)
        weights = None if weights is None else weights[kept]
    return Lists(texts, _offsets(np.minimum(full, feature.max_length)), weights, truncated), faults


def _read_weights(
    feature: MultiValueFeature, columns: Columns, lengths: NDArray[np.int64], kept: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], list[Fault]]:
    """The weight of every element, 1 where a row gives none; those of elements that are not kept may be anything."""
    column = str(feature.weights)
    stored, given = _divide(columns.stored[column], feature.delimiter)
    numbers = Numbers.of(stored)
    row_of = np.repeat(np.arange(len(given)), given)
    fits = given == lengths
    # Which numbers stand beside an element, and which elements have a number beside them.
    source, target = np.repeat(fits, given), np.repeat(fits, lengths)
    weights = np.ones(len(kept))
    weights[target] = numbers.values[source]
    checked = np.flatnonzero(source)[kept[target]]
    values = numbers.values[checked]
    faults = [
        wrong_type(column, "a list of numbers, or text", row_of[numbers.wrong]),
        Fault("wrong_length", column, f"as many numbers as '{feature.name}' has values", np.flatnonzero(~fits & (given > 0))),
        *(replace(fault, rows=row_of[fault.rows]) for fault in not_numbers(column, stored, checked[not_float32(values)])),
        Fault("negative_weight", column, "weights of 0 and more", row_of[checked[values < 0]]),
    ]
    return weights, faults


def _divide(column: Any, delimiter: str) -> tuple[Any, NDArray[np.int64]]:
    """The elements of all rows behind one another, a `pa.Array`, and how many each row has; a single value is one element."""
    column = decoded(column)
    if is_text(column.type):
        stored = column.dictionary_encode("encode")
        # White space may be what divides; elements lose that at their own ends.
        texts = untrimmed(stored.dictionary)
        parts = pc.split_pattern(pc.if_else(pc.equal(pc.ascii_trim_whitespace(texts), ""), None, texts), delimiter)
        lengths = _lengths(parts)
        encoded = pa.ListArray.from_arrays(pa.array(_offsets(lengths), pa.int32()), parts.flatten().dictionary_encode())
        column = encoded.take(stored.indices)
    if not is_list(column.type):
        return column.drop_null(), column.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)
    return column.flatten(), _lengths(column)


def _lengths(lists: Any) -> NDArray[np.int64]:
    return pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)])
