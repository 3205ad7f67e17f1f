# SPDX-License-Identifier: Apache-2.0
"""The versions in a model's folder: one appears whole or not at all, and old ones go as they came.

TF Serving polls the folder and takes whatever has a number for its name as a version, so all work is done elsewhere:

DIR/NAME/<version>/              a version
DIR/NAME/.export-XXXX/lock       locked by the export at work, and so free when that is dead
DIR/NAME/.export-XXXX/...        what it writes, and what it prunes
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tf_crossdistil.model_versions import version_number

_WORKSPACE = ".export-"
_LOCK = "lock"
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def find_versions(target: Path) -> dict[int, Path]:
    """What TF Serving takes for the versions of a model's folder, by number in ascending order; `007` is a name of 7."""
    found = {number: path for path in target.glob("*") if (number := version_number(path.name)) is not None}
    return dict(sorted(found.items()))


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """A folder for one export, within the model's folder, on the same file system; it is removed however the block ends.

    Args:
        target: the model's folder, which exists.

    Raises:
        OSError: it cannot be made.
    """
    lock = None
    while lock is None:
        folder = Path(tempfile.mkdtemp(prefix=_WORKSPACE, dir=target))
        lock = _lock_of_new(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def clear_dead(target: Path) -> list[str]:
    """Removes what exports left that were killed, and nothing of those at work; returns a sentence on each that stays."""
    sentences = []
    for folder in sorted(target.glob(f"{_WORKSPACE}*")):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            # It ended just now, or belongs to another user.
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except (BlockingIOError, FileNotFoundError):
            continue
        except OSError as error:
            sentences.append(f"{folder} of an earlier export stays: {error.strerror}; remove it when no export is at work")
        finally:
            os.close(lock)
    return sentences


@contextmanager
def only_publisher(target: Path) -> Iterator[None]:
    """Within the block no other export takes a number, so that none is given twice, not even that of a pruned version."""
    descriptor = os.open(target, os.O_RDONLY)
    try:
        # Without locks on the file system a number is free or taken when it is renamed to, and that is all.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def publish(ready: Path, target: Path, number: int) -> Path | None:
    """Makes a complete folder the version of that number, in one step; None where that version exists already.

    Raises:
        OSError: it cannot be renamed or flushed to the disk.
    """
    if number in find_versions(target):
        return None
    _flush(ready)
    destination = target / str(number)
    try:
        ready.rename(destination)
    except OSError as error:
        if error.errno in _TAKEN:
            return None
        raise
    _flush_folder(target)
    return destination


def prune(target: Path, keep: int, published: Path, bin_folder: Path) -> list[str]:
    """Takes all but the newest versions out of sight; returns a sentence on each that cannot be.

    Args:
        target: the model's folder.
        keep: how many stay, at least 1.
        published: the version that stays in any case.
        bin_folder: where the others go, on the same file system.
    """
    sentences = []
    # Something else that is named by a number is none of ours.
    saved = [path for path in find_versions(target).values() if (path / "saved_model.pb").is_file()]
    for path in saved[:-keep]:
        if path == published:
            continue
        try:
            path.rename(bin_folder / f"pruned-{path.name}")
        except FileNotFoundError:
            # Another export pruned it.
            continue
        except OSError as error:
            sentences.append(f"cannot remove version {path}: {error.strerror}; remove it yourself")
    return sentences


def _lock_of_new(folder: Path) -> int | None:
    """Locks a new workspace; None where another export took it for a dead one's before that."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        return None
    # Without locks on the file system no export removes what others left.
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX)
    if (folder / _LOCK).exists():
        return lock
    os.close(lock)
    return None


def _flush(folder: Path) -> None:
    """Brings everything within a folder to the disk, so that a power failure leaves no version with empty files."""
    for directory, _, names in os.walk(folder):
        for name in names:
            with (Path(directory) / name).open("rb") as file:
                os.fsync(file.fileno())
        _flush_folder(Path(directory))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Not every file system can.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
