# SPDX-License-Identifier: Apache-2.0
"""Files of a run, written whole or not at all, with the same bytes every time.

A file is written in the run's working directory and takes its place when it is whole. The working directory is made once, by
the launcher: a worker that outlives its run, or the publication of it, cannot write any more. An object store would take the
file, so that workers there ask whether their attempt goes on (see `attempts`).
"""

import contextlib
import hashlib
import uuid
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any

from typing_extensions import Self

from pipelines.runs.compression import GzipCompressor
from pipelines.runs.storage import WORK_DIRECTORY, RunPath, explained
from tf_crossdistil.schema import FileEntry

# Many tasks have many label combinations, most of them rare: a compressor and an open file each would be too many.
_HELD_BYTES = 1 << 18


class FileWriter:
    """Writes `root / path` aside and moves it to its place on success."""

    def __init__(self, root: RunPath, path: str) -> None:
        self._path = path
        self._root = root
        self._target = root / path
        self._aside = root / WORK_DIRECTORY / f"{uuid.uuid4().hex}.part"
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._file: Any = None

    def write(self, content: bytes | memoryview) -> None:
        """Appends bytes as they are."""
        with explained(self._target):
            if self._file is None:
                self._file = self._aside.open("wb")
            self._file.write(content)
        self._digest.update(content)
        self._bytes += len(content)

    def commit(self) -> FileEntry:
        """Gives the file its name."""
        self.write(b"")
        with explained(self._target):
            self._file.close()
            # Not the root itself: a run that was taken away must not come back in parts.
            for folder in list(PurePosixPath(self._path).parents)[-2::-1]:
                (self._root / str(folder)).mkdir(exist_ok=True)
            self._aside.replace(self._target)  # type: ignore[arg-type]
            self._file = None
        return FileEntry(path=self._path, bytes=self._bytes, sha256=self._digest.hexdigest())

    def discard(self) -> None:
        """Removes what was written, as far as that can be done."""
        if self._file is not None:
            # What is left is in the working directory, which goes with the run or before it is published.
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._aside.unlink(missing_ok=True)


class GzipWriter(FileWriter):
    """A `FileWriter` that compresses and counts the rows it is given."""

    def __init__(self, root: RunPath, path: str, split: str | None, tag: str | None) -> None:
        super().__init__(root, path)
        self._split, self._tag = split, tag
        self._rows = 0
        self._held = bytearray()
        self._compressor: GzipCompressor | None = None

    def append(self, content: bytes | memoryview, rows: int) -> None:
        """Compresses the bytes of so many rows."""
        self._rows += rows
        if self._compressor is None:
            self._held += content
            if len(self._held) >= _HELD_BYTES:
                self._compress_held()
        else:
            self.write(self._compressor.compress(content))

    def commit(self) -> FileEntry:
        """Ends the stream and gives the file its name."""
        compressor = self._compressor or self._compress_held()
        self.write(compressor.flush())
        entry = super().commit()
        self._compressor = None
        return entry.model_copy(update={"split": self._split, "tag": self._tag, "rows": self._rows}) if self._split else entry

    def _compress_held(self) -> GzipCompressor:
        self._compressor = GzipCompressor()
        self.write(self._compressor.compress(memoryview(self._held)))
        self._held = bytearray()
        return self._compressor


class GzipWriters:
    """The gzip files that one range of the input fills, opened when the first row comes; a context manager.

    Leaving it without an exception gives every file its name, leaving it with one removes them.
    """

    def __init__(self, root: RunPath) -> None:
        self._root = root
        self._writers: dict[str, GzipWriter] = {}
        self.entries: list[FileEntry] = []

    def open(self, path: str, split: str | None = None, tag: str | None = None) -> GzipWriter:
        """The writer of a file; `split` and `tag` for files that hold records."""
        if path not in self._writers:
            self._writers[path] = GzipWriter(self._root, path, split, tag)
        return self._writers[path]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.entries = [writer.commit() for writer in self._writers.values()]
        finally:
            # Those that have their names have nothing left to discard.
            for writer in self._writers.values():
                writer.discard()


def write_file(root: RunPath, path: str, content: bytes) -> FileEntry:
    """Writes `root / path` in one piece."""
    writer = FileWriter(root, path)
    try:
        writer.write(content)
        return writer.commit()
    finally:
        writer.discard()
