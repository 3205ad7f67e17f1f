# SPDX-License-Identifier: Apache-2.0
"""Reading files of request rows, block by block."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from serving.client.tables import Table
from tf_crossdistil.errors import CrossDistilError, UsageError

Row = dict[str, Any]

_BLOCK_ROWS = 8192


def read_tables(path: Path) -> Iterator[Table]:
    """Reads the rows of a .jsonl, .csv, .tsv (each plain or .gz; csv and tsv with a header) or .parquet file in their order.

    Every csv and tsv value is text, an empty one too; JSON and Parquet keep their types. The memory that this takes does not
    grow with the file.

    Yields:
        Some thousand rows, which know their place in the file.

    Raises:
        UsageError: the path is a directory or has an unknown suffix.
        CrossDistilError: the file is missing, empty, or not what its suffix says.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory; give the path of a file with request rows")
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in READERS:
        raise UsageError(f"{path} must end in one of {', '.join(READERS)}, which says how to read it")
    read = 0
    try:
        for rows, columns in READERS[suffix](path):
            if rows:
                yield Table(rows, columns, first=read + 1)
                read += rows
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise CrossDistilError(f"cannot read {path}: {reason}; give the path of a file with request rows") from error
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise CrossDistilError(f"{path} is no valid {suffix} file: {reason}; give a file that is what its name says") from error
    if not read:
        raise CrossDistilError(f"{path} has no rows; give a file with at least one")


def read_rows(path: Path) -> list[Row]:
    """All rows of a file for `read_tables`, which says what it raises."""
    return [row for table in read_tables(path) for row in table.to_rows()]


Block = tuple[int, Mapping[str, Any]]


def _read_jsonl(path: Path) -> Iterator[Block]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        parsed = _parsed(path, lines)
        while rows := list(islice(parsed, _BLOCK_ROWS)):
            names = dict.fromkeys(name for row in rows for name in row)
            yield len(rows), {name: [row.get(name) for row in rows] for name in names}


def _parsed(path: Path, lines: Any) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CrossDistilError(
                f"{path}, line {number} is not JSON: {error}; write one object of features a line"
            ) from error
        if not isinstance(row, dict):
            raise CrossDistilError(f"{path}, line {number} must be a JSON object of features; received {line.strip()[:40]}")
        yield row


def _read_delimited(path: Path, delimiter: str) -> Iterator[Block]:
    parsing = pyarrow.csv.ParseOptions(delimiter=delimiter)
    with pyarrow.csv.open_csv(path, parse_options=parsing) as header:
        names = header.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CrossDistilError(f"{path} has the column '{twice}' twice; every column needs a name of its own")
    types = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=False)
    with pyarrow.csv.open_csv(path, parse_options=parsing, convert_options=types) as batches:
        for batch in batches:
            yield _block(batch)


def _read_parquet(path: Path) -> Iterator[Block]:
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_BLOCK_ROWS):
            yield _block(batch)


def _block(batch: Any) -> Block:
    return batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True))


READERS: dict[str, Callable[[Path], Iterator[Block]]] = {
    ".jsonl": _read_jsonl,
    ".csv": lambda path: _read_delimited(path, ","),
    ".tsv": lambda path: _read_delimited(path, "\t"),
    ".parquet": _read_parquet,
}
