# SPDX-License-Identifier: Apache-2.0
"""Tables whose columns every row of the logs gets, from the table's row that has the same key."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checking.columns import Texts, is_list, is_not_utf8, is_text
from pipelines.sources.blocks import Block, FilePlan, InputRange, Reader
from pipelines.sources.files import InputInfo, find_beside
from pipelines.sources.readers import READERS
from pipelines.sources.text import without_marks
from pipelines.sources.whole import read_whole
from tf_crossdistil.config import Source
from tf_crossdistil.config.logs import Join
from tf_crossdistil.errors import CrossDistilError, UsageError

# How many tables a worker keeps.
_KEPT_TABLES = 16
_NO_ROW = -1
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Table:
    """A table in memory: `rows` by the canonical text of the key, `columns` `pa.Array` `[rows]` by name.

    `names` are all columns that its file has.
    """

    path: str
    key: str
    rows: Mapping[str, int]
    columns: Mapping[str, Any]
    names: Sequence[str]

    def join(self, block: Block) -> Block:
        """The block with this table's columns, which are null where the table has no row with the key."""
        keys = Texts.of(block.columns[self.key])
        found = np.fromiter(map(self.rows.get, keys.values.to_pylist(), repeat(_NO_ROW)), np.int64, len(keys.values))
        unmatched = found[keys.codes] == _NO_ROW
        distinct = pa.array(found, mask=found == _NO_ROW)
        codes = pa.array(keys.codes, mask=unmatched)
        joined = {name: _spread(column.take(distinct), codes) for name, column in self.columns.items()}
        counts = block.unmatched | {self.path: block.unmatched.get(self.path, 0) + int(unmatched.sum())}
        return replace(block, columns=block.columns | joined, unmatched=counts)


class JoinedReader(Reader):
    """Reads logs of any format, and joins them with the tables of `source.joins`.

    Keys match by their canonical text; a missing key matches nothing.
    """

    def __init__(self, source: Source, columns: Sequence[str]) -> None:
        keys = [table.key for table in source.tables]
        super().__init__(source, list(dict.fromkeys([*columns, *keys])))
        given = {name for table in source.tables for name in table.given}
        self._logs = READERS[source.format](source, [name for name in self.columns if name not in given])

    def find(self, pattern: str) -> list[InputInfo]:
        """The logs."""
        return self._logs.find(pattern)

    def find_tables(self, inputs: Sequence[InputInfo]) -> list[InputInfo]:
        """The tables in the order of `source.joins`."""
        logs = {info.path for info in inputs}
        tables = [find_beside(join.file, inputs[0].path) for join in self._source.joins]
        for table in tables:
            if table.path in logs:
                raise UsageError(f"{table.path} is a table of source.joins, and --input matches it too; name the logs alone")
        return tables

    def read_tables(self, tables: Sequence[InputInfo]) -> dict[str, list[str]]:
        """Reads the tables into memory, where blocks that are read in this process find them."""
        return {table.path: [name for name in table.names if name not in self.columns] for table in self._tables(tables)}

    def plan(self, path: str) -> FilePlan:
        """The logs' ranges; columns that a table gives must not be among those of the logs."""
        plan = self._logs.plan(path)
        for table in self._source.tables:
            for name in table.given:
                if name in plan.columns:
                    raise CrossDistilError(
                        f"{path} and the table {table.file} both have a column '{name}'; rename one, or leave it out of the "
                        "columns of source.joins"
                    )
        return plan

    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The logs' blocks with the columns of all tables."""
        tables = self._tables(part.tables)
        for block in self._logs.blocks(part):
            yield reduce(lambda joined, table: table.join(joined), tables, block)

    def _tables(self, infos: Sequence[InputInfo]) -> list[Table]:
        wanted = [tuple(name for name in join.given if name in self.columns) for join in self._source.tables]
        return [load_table(*table) for table in zip(self._source.tables, wanted, infos, strict=True)]


def unmatched_warnings(unmatched: Mapping[str, int], rows: int) -> list[str]:
    """A sentence for every table, by path, that had no row for some of all `rows`."""
    return [
        f"{count:,} of {rows:,} rows ({count / rows:.2%}) have no row in {path}; its columns are missing there"
        for path, count in unmatched.items()
        if count
    ]


def check_matched(unmatched: Mapping[str, int], rows: int) -> None:
    """Refuses a table, by path, that had no row for any of all `rows`.

    Raises:
        CrossDistilError: there is one.
    """
    for path, count in unmatched.items():
        if 0 < rows == count:
            raise CrossDistilError(
                f"no row of the logs, {rows:,} in all, has its key in the table {path}, expected some; keys are compared "
                "as text, so that 7 and 07 are two; mend 'key' and 'columns' of source.joins, or the table"
            )


@lru_cache(_KEPT_TABLES)
def load_table(join: Join, columns: tuple[str, ...], info: InputInfo) -> Table:
    """Reads some columns of a table, once in a process.

    Raises:
        CrossDistilError: it changed since it was found, cannot be read, lacks a column, is not in its encoding, has a row
            without a key or two rows with one key.
    """
    if find_beside(info.path, info.path) != info:
        raise CrossDistilError(f"{info.path} changed while the logs were read; run again when nothing writes to it")
    reader = READERS[join.source.format](join.source, [join.key, *columns])
    plan = reader.plan(info.path)
    whole = read_whole(reader, plan.ranges)
    if whole.first is not None:
        shown = whole.first.raw[:_SHOWN_CHARACTERS]
        raise CrossDistilError(
            f"{info.path} has rows that cannot be read ({whole.rejected:,}), such as {shown!r}: {whole.first.message}; mend "
            "the table, or source.joins"
        )
    for name, column in whole.columns.items():
        _check_text(info.path, name, column, join)
    keys = Texts.of(whole.columns.pop(join.key)).as_rows().to_pylist()
    rows = dict(zip(keys, range(len(keys)), strict=True))
    if "" in rows:
        raise CrossDistilError(f"{info.path} has a row without '{join.key}'; every row of a table needs a key")
    if len(rows) < len(keys):
        twice = next(key for row, key in enumerate(keys) if rows[key] != row)
        raise CrossDistilError(f"{info.path} has two rows whose '{join.key}' is {twice!r}; a table needs one row a key")
    return Table(info.path, join.key, rows, whole.columns, plan.columns)


def _check_text(path: str, name: str, column: Any, join: Join) -> None:
    """Refuses text, also in lists, that is not in the table's encoding."""
    values = pc.list_flatten(column) if is_list(column.type) else column
    if is_text(values.type):
        texts = Texts.of(values).values
        if (wrong := np.flatnonzero(is_not_utf8(texts))).size:
            received = without_marks(texts[int(wrong[0])].as_py())[:_SHOWN_CHARACTERS]
            raise CrossDistilError(
                f"column '{name}' of the table {path} must hold text in {join.source.encoding}; received {received!r}; mend "
                "the table, or, if it is csv, its 'encoding' in source.joins"
            )


def _spread(distinct: Any, codes: Any) -> Any:
    """The values of distinct keys, by row; text is repeated by reference only."""
    return pa.DictionaryArray.from_arrays(codes, distinct) if is_text(distinct.type) else distinct.take(codes)
