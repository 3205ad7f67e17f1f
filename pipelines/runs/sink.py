"""Files of a run, written whole or not at all, with the same bytes every time."""

import errno
import hashlib
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import FileEntry

# The quickest level; level 6 makes a file a quarter smaller at three times the cost, and readers do not notice.
_LEVEL = 1
# A gzip wrapper around the largest window; its header then carries neither a time nor a name.
_GZIP_WINDOW = 31


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns a failure of the file system into one sentence that names the file.

    Raises:
        CrossDistilError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        advice = "free some space" if error.errno == errno.ENOSPC else "give an --output that can be written"
        raise CrossDistilError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


class FileWriter:
    """Writes `root / path` under a temporary name and renames it on success."""

    def __init__(self, root: Path, path: str) -> None:
        self._path = path
        self._target = root / path
        self._temporary = self._target.with_name(f".{self._target.name}.{uuid.uuid4().hex}")
        self._digest = hashlib.sha256()
        self._bytes = 0
        with explained(self._target):
            self._file = self._temporary.open("wb")

    def write(self, content: bytes) -> None:
        """Appends bytes as they are."""
        with explained(self._target):
            self._file.write(content)
        self._digest.update(content)
        self._bytes += len(content)

    def commit(self) -> FileEntry:
        """Gives the file its name."""
        with explained(self._target):
            self._file.close()
            self._temporary.replace(self._target)
        return FileEntry(path=self._path, bytes=self._bytes, sha256=self._digest.hexdigest())

    def discard(self) -> None:
        """Removes what was written."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class GzipWriter(FileWriter):
    """A `FileWriter` that compresses and counts the rows it is given."""

    def __init__(self, root: Path, path: str, split: str | None, tag: str | None) -> None:
        super().__init__(root, path)
        self._split, self._tag = split, tag
        self._rows = 0
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def append(self, content: bytes | memoryview, rows: int) -> None:
        """Compresses the bytes of so many rows."""
        self.write(self._compressor.compress(content))
        self._rows += rows

    def commit(self) -> FileEntry:
        """Ends the stream and gives the file its name."""
        self.write(self._compressor.flush())
        entry = super().commit()
        return entry.model_copy(update={"split": self._split, "tag": self._tag, "rows": self._rows}) if self._split else entry


class GzipWriters:
    """The gzip files that one range of the input fills, opened when the first row comes; a context manager.

    Leaving it without an exception gives every file its name, leaving it with one removes them.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writers: dict[str, GzipWriter] = {}
        self.entries: list[FileEntry] = []

    def open(self, path: str, split: str | None = None, tag: str | None = None) -> GzipWriter:
        """The writer of a file; `split` and `tag` for files that hold records."""
        if path not in self._writers:
            _make_parents(self._root, path)
            self._writers[path] = GzipWriter(self._root, path, split, tag)
        return self._writers[path]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.entries = [writer.commit() for writer in self._writers.values()]
        else:
            for writer in self._writers.values():
                writer.discard()


def write_file(root: Path, path: str, content: bytes) -> FileEntry:
    """Writes `root / path` in one piece."""
    _make_parents(root, path)
    writer = FileWriter(root, path)
    writer.write(content)
    return writer.commit()


def _make_parents(root: Path, path: str) -> None:
    """Makes the folders below `root`, not `root` itself: a run that was taken away must not come back in parts."""
    with explained(root / path):
        for parent in list(Path(path).parents)[-2::-1]:
            (root / parent).mkdir(exist_ok=True)
