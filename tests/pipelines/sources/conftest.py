# SPDX-License-Identifier: Apache-2.0
"""Reading files in tests, and a file system that is nowhere on the disk."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from apache_beam.io.filesystem import FileMetadata, FileSystem

from pipelines.sources.blocks import RejectedRow
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from tf_crossdistil.config import Source

Found = tuple[list[tuple[Any, ...]], list[tuple[str, str]]]


@pytest.fixture(scope="session")
def read() -> Callable[..., Found]:
    """Reads a file: its rows in the order of their positions, and reason and raw text of those rejected."""

    def read(path: object, columns: Sequence[str], source: Source) -> Found:
        reader = make_reader(source, columns)
        rows: list[tuple[Any, ...]] = []
        rejected: list[RejectedRow] = []
        for part in plan_ranges(reader, find_inputs(reader, [str(path)])).ranges:
            found: dict[int, tuple[Any, ...]] = {}
            bad: list[RejectedRow] = []
            shares = []
            for block in reader.blocks(part):
                assert block.rows == len(block.positions) + len(block.rejected)
                values = zip(*(block.columns[name].to_pylist() for name in columns), strict=True)
                found |= dict(zip(block.positions.tolist(), values, strict=True))
                bad += block.rejected
                shares.append(block.done)
            assert sorted([*found, *(row.position for row in bad)]) == list(range(len(found) + len(bad)))
            assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
            rows += [found[position] for position in sorted(found)]
            rejected += sorted(bad, key=lambda row: row.position)
        return rows, [(row.reason, row.raw) for row in rejected]

    return read


class MemoryFileSystem(FileSystem):
    """Files by URL in a dict; nothing but Beam's own interface can find them."""

    files: dict[str, bytes] = {}

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath, *paths])

    def split(self, path: str) -> tuple[str, str]:
        folder, _, name = path.rpartition("/")
        return folder, name

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for path, content in sorted(self.files.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(content), 5.0)

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> io.BytesIO:
        return io.BytesIO(self.files[path])

    def exists(self, path: str) -> bool:
        return path in self.files

    def metadata(self, path: str) -> FileMetadata:
        return next(self._list(path))

    def size(self, path: str) -> int:
        return len(self.files[path])

    def last_updated(self, path: str) -> float:
        return 5.0

    def _refuse(self, *arguments: object) -> None:
        raise NotImplementedError

    mkdirs = create = copy = rename = checksum = delete = _refuse


@pytest.fixture
def memory() -> Iterator[dict[str, bytes]]:
    """The files of `memory://`, by URL."""
    MemoryFileSystem.files.clear()
    yield MemoryFileSystem.files
    MemoryFileSystem.files.clear()
