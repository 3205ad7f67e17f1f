# SPDX-License-Identifier: Apache-2.0
"""Parquet files as blocks of columns."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from pipelines.sources.blocks import Block, FilePlan, InputRange, Reader
from pipelines.sources.files import open_stored, unreadable, wrong_format
from tf_crossdistil.errors import CrossDistilError

RANGE_ROWS = 500_000
BLOCK_ROWS = 131_072
BLOCK_BYTES = 64 << 20
_BUFFER_BYTES = 8 << 20
# A length of 4 bytes is stored ahead of each text that is no index into a dictionary.
_LENGTH_BYTES = 4


class ParquetReader(Reader):
    """Reads Parquet; a range is some row groups. Columns keep their types, also lists and structs."""

    def plan(self, path: str) -> FilePlan:
        """Ranges of row groups with at least `RANGE_ROWS` rows, but for the last."""
        with _open(path) as file:
            names = file.schema_arrow.names
            self._check_columns(path, names)
            groups = _groups(file)
            bounds, rows = [0], 0
            for index, group in enumerate(groups):
                rows += group.num_rows
                if rows >= RANGE_ROWS:
                    bounds.append(index + 1)
                    rows = 0
            if bounds[-1] < len(groups) or len(bounds) == 1:
                bounds.append(len(groups))
            ranges = [
                InputRange(0, path, first, last, sum(self._stored_bytes(group) for group in groups[first:last]))
                for first, last in pairwise(bounds)
            ]
        return FilePlan(ranges, names)

    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The rows of a range in blocks of `BLOCK_ROWS`, fewer where rows are long or hold lists; none is ever rejected."""
        indexes = list(range(part.first, part.last or 0))
        with _open(part.path) as file:
            groups = [file.metadata.row_group(index) for index in indexes]
            alike = self._repetitive_texts(file.schema_arrow, groups)
        total = sum(group.num_rows for group in groups)
        position = 0
        try:
            with _open(part.path, alike) as file:
                batches = file.iter_batches(
                    self._rows_a_block(groups), row_groups=indexes, columns=self.columns, use_threads=False
                )
                for batch in chain.from_iterable(map(_bounded, batches)):
                    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                    positions = np.arange(position, position + batch.num_rows)
                    position += batch.num_rows
                    yield Block(columns, positions, done=position / total)
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise CrossDistilError(f"{part.path} is a damaged or truncated Parquet file: {reason}; copy it again") from error

    def _chunks(self, group: Any) -> Iterator[Any]:
        """The column chunks of a row group that are read."""
        for index in range(group.num_columns):
            if group.column(index).path_in_schema.split(".")[0] in self.columns:
                yield group.column(index)

    def _stored_bytes(self, group: Any) -> int:
        return sum(chunk.total_compressed_size for chunk in self._chunks(group))

    def _rows_a_block(self, groups: Sequence[Any]) -> int:
        """How many rows to read at a time, so that neither their bytes nor the elements of a list are too many."""
        rows = float(BLOCK_ROWS)
        for group in filter(lambda group: group.num_rows, groups):
            plain_bytes = sum(chunk.total_uncompressed_size for chunk in self._chunks(group))
            elements = max(chunk.num_values for chunk in self._chunks(group))
            rows = min(rows, BLOCK_BYTES * group.num_rows / max(plain_bytes, 1), BLOCK_ROWS * group.num_rows / elements)
        return max(1, int(rows))

    def _repetitive_texts(self, schema: Any, groups: Sequence[Any]) -> list[str]:
        """The columns of text that are stored as indexes into small dictionaries, and can be handed on as such."""
        texts = [name for name in self.columns if _is_text(schema.field(name).type)]
        plain = {
            chunk.path_in_schema
            for group in groups
            for chunk in self._chunks(group)
            if not chunk.has_dictionary_page or chunk.total_uncompressed_size >= _LENGTH_BYTES * chunk.num_values
        }
        return [name for name in texts if name not in plain]


def _bounded(batch: Any) -> Iterator[Any]:
    """A batch in parts of at most `BLOCK_BYTES`, or of one row: texts that are stored as indexes grow when they are read."""
    # A dictionary belongs to every part.
    size = sum(getattr(column, "indices", column).nbytes for column in batch.columns)
    if size <= BLOCK_BYTES or batch.num_rows == 1:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _bounded(batch[:half])
    yield from _bounded(batch[half:])


def _is_text(kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _groups(file: Any) -> list[Any]:
    return [file.metadata.row_group(index) for index in range(file.num_row_groups)]


def _open(path: str, read_dictionary: Sequence[str] = ()) -> Any:
    try:
        # By default Arrow reads whole columns of a row group ahead, whatever their size.
        return pyarrow.parquet.ParquetFile(
            open_stored(path), read_dictionary=read_dictionary, buffer_size=_BUFFER_BYTES, pre_buffer=False
        )
    except OSError as error:
        if error.errno:
            raise unreadable(path, error) from error
        raise wrong_format(path, "a Parquet file", error) from error
    except pa.ArrowException as error:
        raise wrong_format(path, "a Parquet file", error) from error
