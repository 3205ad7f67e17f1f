# SPDX-License-Identifier: Apache-2.0
"""All rows of files at once, for tables and logs that fit into memory."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checking.columns import Texts, decoded, is_list, is_readable
from pipelines.sources.blocks import InputRange, Reader, RejectedRow
from tf_crossdistil.errors import CrossDistilError


@dataclass(frozen=True)
class Whole:
    """The `rows` of some ranges: `columns` `pa.Array` `[rows]` by name.

    `rejected` counts further rows, that could not be taken apart into columns; `first` is the first of them. `unmatched`
    counts, by its path, the rows that a joined table has no row for.
    """

    rows: int
    columns: dict[str, Any]
    rejected: int
    first: RejectedRow | None
    unmatched: Counter[str]


def read_whole(reader: Reader, ranges: Sequence[InputRange], advance: Callable[[float], None] = lambda share: None) -> Whole:
    """Reads ranges that the reader has planned; `advance` is called with further shares of the work, 1 in all.

    Raises:
        CrossDistilError: a file is damaged, or a column holds what does not go together, such as lists and single values.
    """
    total = sum(part.weight for part in ranges) or 1.0
    chunks: dict[str, list[Any]] = {name: [] for name in reader.columns}
    rows, rejected, first, unmatched = 0, 0, None, Counter[str]()
    for part in ranges:
        done = 0.0
        for block in reader.blocks(part):
            for name, kept in chunks.items():
                kept.append(decoded(block.columns[name]))
            rows += len(block.positions)
            rejected += len(block.rejected)
            unmatched.update(block.unmatched)
            first = first or next(iter(block.rejected), None)
            advance((block.done - done) * part.weight / total)
            done = block.done
        advance((1 - done) * part.weight / total)
    first_path, *more = dict.fromkeys(part.path for part in ranges)
    where = f"{first_path} and {len(more):,} more" if more else first_path
    columns = {name: _concatenated(f"column '{name}' of {where}", kept) for name, kept in chunks.items()}
    return Whole(rows, columns, rejected, first, unmatched)


def _concatenated(what: str, chunks: Sequence[Any]) -> Any:
    """Chunks behind one another, in a type that does not depend on their order."""
    kinds = {chunk.type for chunk in chunks if chunk.null_count < len(chunk)}
    filled = [chunk if chunk.null_count < len(chunk) else pa.nulls(len(chunk)) for chunk in chunks]
    if len(kinds) < 2:
        kind = next(iter(kinds), pa.string())
        alike = [chunk if chunk.type == kind else pa.nulls(len(chunk), kind) for chunk in filled]
        return pa.concat_arrays(alike or [pa.nulls(0, kind)])
    if all(map(is_list, kinds)):
        return _concatenated_lists(what, filled)
    if not all(map(is_readable, kinds)):
        raise CrossDistilError(f"{what} holds lists in some rows and single values in others; mend the file")
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        # What only text can hold exactly becomes text.
        with suppress(pa.ArrowInvalid):
            number = pa.float64() if any(map(pa.types.is_floating, kinds)) else pa.int64()
            return pa.concat_arrays([chunk.cast(number) for chunk in filled])
    return pa.concat_arrays([_texts(chunk) for chunk in filled])


def _concatenated_lists(what: str, chunks: Sequence[Any]) -> Any:
    none = pa.array([], pa.list_(pa.null()))
    values = _concatenated(what, [pc.list_flatten(chunk if is_list(chunk.type) else none) for chunk in chunks])
    lengths = pa.concat_arrays(
        [(pc.list_value_length(chunk) if is_list(chunk.type) else chunk).cast(pa.int64()) for chunk in chunks]
    )
    offsets = np.cumsum([0, *lengths.fill_null(0).to_numpy()])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=lengths.is_null())


def _texts(chunk: Any) -> Any:
    texts = chunk.cast(pa.large_string()) if pa.types.is_string(chunk.type) else Texts.of(chunk).as_rows()
    return pc.if_else(chunk.is_null(), None, texts)
