# SPDX-License-Identifier: Apache-2.0
"""Where runs are kept: a directory of this machine, or one on any file system that Beam knows, such as `gs://bucket/data`."""

import errno
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, cast

from typing_extensions import Self

from pipelines.beam import CompressionTypes, FileSystems
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.schema import PreparedData

WORK_DIRECTORY = "work"
_DIGITS = 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_REMOVALS = 5
_PIECE_BYTES = 1 << 20
_SECONDS_BETWEEN_REMOVALS = 0.1


@dataclass(frozen=True)
class Stored:
    """Size in bytes and time of the last change in seconds since 1970, by the names that `os.stat` has for them."""

    st_size: int
    st_mtime: float


@dataclass(frozen=True, order=True)
class BeamPath:
    """A path on one of Beam's file systems, with the few methods of `pathlib.Path` that runs need.

    Folders come into being with the files in them, and go with the last. A file that is written appears whole, when it is
    closed. Failures are `OSError`s.
    """

    text: str
    # What a listing told about the file, which spares asking for every single one.
    known: Stored | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, below: str) -> "BeamPath":
        return BeamPath(f"{self.text.rstrip('/')}/{below}")

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.text).name

    @property
    def parent(self) -> "BeamPath":
        """The folder above."""
        return BeamPath(self.text.rstrip("/").rpartition("/")[0])

    def is_file(self) -> bool:
        """Whether there is such a file."""
        return self.known is not None or self._stored() is not None

    def is_dir(self) -> bool:
        """Whether there is any file below."""
        return bool(self._matching(f"{self}/**", limit=1))

    def stat(self) -> Stored:
        """Size and time of the file.

        Raises:
            FileNotFoundError: there is no such file.
        """
        stored = self.known or self._stored()
        if stored is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", self.text)
        return stored

    def glob(self, pattern: str) -> Iterator[Any]:
        """The files that match, as `BeamPath`s; no folders do."""
        yield from self._matching(f"{self}/{pattern}")

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Does nothing: a folder comes with its first file."""

    def open(self, mode: str) -> Any:
        """The file as a stream, for reading (`rb`) or writing (`wb`)."""
        action = {"rb": FileSystems.open, "wb": FileSystems.create}[mode]
        try:
            with _as_os_error():
                return _Stream(action(self.text, compression_type=CompressionTypes.UNCOMPRESSED))
        except OSError as error:
            # Beam's error does not say whether there is no such file or it could not be reached.
            if mode == "rb" and self._stored() is None:
                raise FileNotFoundError(errno.ENOENT, "No such file", self.text) from error
            raise

    def read_bytes(self) -> bytes:
        """What the file holds."""
        with self.open("rb") as stream:
            return cast(bytes, stream.read())

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """What the file holds, as text."""
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, content: bytes) -> None:
        """Writes the file in one piece."""
        with self.open("wb") as stream:
            stream.write(content)

    def replace(self, target: "BeamPath") -> None:
        """Moves the file to `target`, which it replaces."""
        with _as_os_error():
            if FileSystems.get_filesystem(self.text).has_dirs() and FileSystems.exists(target.text):
                FileSystems.delete([target.text])
            FileSystems.rename([self.text], [target.text])

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the file."""
        if not missing_ok or self.is_file():
            with _as_os_error():
                FileSystems.delete([self.text])

    def remove_tree(self) -> None:
        """Removes all that is below."""
        with _as_os_error():
            if FileSystems.get_filesystem(self.text).has_dirs():
                if FileSystems.exists(self.text):
                    FileSystems.delete([self.text])
            elif files := self._matching(f"{self}/**"):
                FileSystems.delete([file.text for file in files])

    def _stored(self) -> Stored | None:
        found = self._matching(self.text)
        return found[0].known if found else None

    def _matching(self, pattern: str, limit: int | None = None) -> "list[BeamPath]":
        with _as_os_error():
            system = FileSystems.get_filesystem(pattern)
            if system.has_dirs() and not FileSystems.exists(pattern.partition("*")[0].rpartition("/")[0]):
                return []
            found = FileSystems.match([pattern], limits=[limit])[0].metadata_list
        return [BeamPath(file.path, Stored(file.size_in_bytes, file.last_updated_in_seconds)) for file in found]


RunPath = Path | BeamPath


class _Stream:
    """A stream of a file system whose failures, also those at the end of a file, are `OSError`s."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        with _as_os_error():
            if size >= 0:
                return cast(bytes, self._stream.read(size))
            # Some of Beam's streams have no number that stands for the rest.
            return b"".join(iter(lambda: self._stream.read(_PIECE_BYTES), b""))

    def write(self, content: bytes | memoryview) -> None:
        with _as_os_error():
            self._stream.write(bytes(content))

    def close(self) -> None:
        with _as_os_error():
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    # Clients of clouds have errors of their own, without a base that they share.
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error


def run_path(text: str | Path) -> RunPath:
    """A path of this machine, or a `BeamPath` for one with a scheme such as `gs://`.

    Raises:
        UsageError: Beam has no file system for the scheme, or the path holds a character that its patterns use.
    """
    if isinstance(text, Path) or FileSystems.get_scheme(text) is None:
        return Path(text)
    if special := re.search(r"[*?\[\]]", text):
        raise UsageError(f"{text} cannot be used, since it holds '{special[0]}'; give a folder without * ? [ ]")
    try:
        FileSystems.get_filesystem(text)
    except (ImportError, OSError, ValueError) as error:
        raise UsageError(
            f"no file system is installed for {text}; give a local path, or install what it needs, which for gs:// is "
            "pip install '.[gcp]' in a clone of this package"
        ) from error
    return BeamPath(text.rstrip("/"))


def open_prepared(directory: RunPath) -> PreparedData:
    """Opens a prepared data set wherever it is; see `PreparedData.open`.

    Raises:
        CrossDistilError: there is no complete run, its files are damaged, or they cannot be reached.
    """
    try:
        return PreparedData.open(cast(Path, directory))
    except OSError as error:
        reason = error.strerror or error
        raise CrossDistilError(f"cannot read {directory}: {reason}; run again, or check that it may be read") from error


def by_number(paths: Iterable[RunPath]) -> list[RunPath]:
    """The files in the order of the numbers in their names, however many digits those have."""
    return sorted(paths, key=lambda path: re.sub(r"\d+", lambda digits: digits[0].zfill(_DIGITS), path.name))


def remove_tree(directory: RunPath) -> None:
    """Removes a directory with all that is below, also what others add meanwhile.

    Raises:
        OSError: something cannot be removed.
    """
    if isinstance(directory, BeamPath):
        directory.remove_tree()
        return
    # Until the directory itself is gone, workers may add files behind the back of the removal.
    for _ in range(_REMOVALS):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(_SECONDS_BETWEEN_REMOVALS)
    shutil.rmtree(directory)


@contextmanager
def explained(path: RunPath) -> Iterator[None]:
    """Turns a failure of the file system into one sentence that names the file.

    Raises:
        CrossDistilError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        advice = "free some space" if error.errno in _NO_SPACE else "give an --output that can be written"
        raise CrossDistilError(f"cannot write {path}: {error.strerror or error}; {advice}") from error
