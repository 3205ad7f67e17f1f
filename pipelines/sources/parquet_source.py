"""Parquet files as blocks of columns."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from pipelines.beam import CompressionTypes, FileSystems
from pipelines.checking.columns import is_readable
from pipelines.sources.blocks import Block, InputRange, Reader
from tf_crossdistil.errors import CrossDistilError

RANGE_ROWS = 500_000
BLOCK_ROWS = 131_072


class ParquetReader(Reader):
    """Reads Parquet; a range is some row groups."""

    def plan(self, path: str) -> list[tuple[int, int | None]]:
        """Ranges of row groups with at least `RANGE_ROWS` rows, but for the last."""
        file = _open(path)
        schema = file.schema_arrow
        self._check_columns(path, schema.names)
        for column in self._columns:
            kind = schema.field(column).type
            if not is_readable(kind):
                raise CrossDistilError(f"column '{column}' of {path} has type {kind}; expected text, numbers or booleans")
        bounds, rows = [0], 0
        for group in range(file.num_row_groups):
            rows += file.metadata.row_group(group).num_rows
            if rows >= RANGE_ROWS:
                bounds.append(group + 1)
                rows = 0
        if bounds[-1] < file.num_row_groups:
            bounds.append(file.num_row_groups)
        return list(pairwise(bounds)) or [(0, 0)]

    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The rows of a range; none is ever rejected, since columns are stored apart."""
        groups = list(range(part.first, part.last or 0))
        batches = _open(part.path).iter_batches(BLOCK_ROWS, row_groups=groups, columns=self._columns, use_threads=False)
        position = 0
        try:
            for batch in batches:
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield Block(columns, np.arange(position, position + batch.num_rows))
                position += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise CrossDistilError(f"{part.path} is a damaged Parquet file: {' '.join(str(error).split())}") from error


def _open(path: str) -> Any:
    try:
        return pyarrow.parquet.ParquetFile(FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED))
    except (pa.ArrowInvalid, OSError) as error:
        raise CrossDistilError(f"{path} is not a Parquet file: {' '.join(str(error).split())}") from error
