# SPDX-License-Identifier: Apache-2.0
"""Picks up new versions of a model from its folder and drops old ones, as TF Serving does with `latest: 1`."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from serving.local_server.loading import load
from serving.local_server.model_directory import content_of, has_model, newest_version, version_folders
from serving.local_server.model_store import ModelStore
from tf_crossdistil.errors import CrossDistilError

# After a version was refused it is tried again after these times, as a file system may have failed for a while.
RETRY_SECONDS = (5, 15, 60, 60, 60)


class VersionWatcher:
    """Keeps the newest version of a model directory in a store.

    A version is loaded when two looks in a row find the same files in its folder: a folder that is still being copied waits.
    """

    def __init__(self, directory: Path, store: ModelStore) -> None:
        self._directory = directory
        self._store = store
        self._seen: object = None
        self._refused: object = None
        self._retries: Iterator[float] = iter(())
        self._retry_at = 0.0
        self._told = ""

    def load_first(self) -> int:
        """Loads the newest version; returns its number.

        Raises:
            CrossDistilError: there is none, or it cannot be loaded.
        """
        version = newest_version(self._directory)
        self._load(version)
        return int(version.name)

    @contextmanager
    def watching(self, poll_seconds: float) -> Iterator[None]:
        """Looks for changes every `poll_seconds` within the block."""
        ended = Event()

        def watch() -> None:
            while not ended.wait(poll_seconds):
                self._look_again()

        thread = Thread(target=watch, name="version watcher")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def look(self) -> None:
        """Looks once, and acts on what changed.

        The highest version on disk is the one to serve, so the removal of the newest folder brings the one before it back.
        What serves is dropped after that one has loaded, or when the model directory is there and has no version at all.

        Raises:
            OSError: the model directory cannot be read, or changed meanwhile.
        """
        versions = version_folders(self._directory)
        complete = [version for version in versions if has_model(version)]
        if complete and int(complete[-1].name) not in self._store.versions:
            self._take_up(complete[-1])
        elif not versions:
            self._drop_all_but(None)

    def _look_again(self) -> None:
        try:
            self.look()
        except OSError:
            # A file that is moved away while it is looked at; the next look sees the folder as it is then.
            pass
        except Exception as error:
            # Whatever it is, later versions must still be seen.
            self._complain(f"{self._directory} cannot be looked at for versions: {error!r}")

    def _take_up(self, version: Path) -> None:
        content = (version, content_of(version))
        settled, self._seen = content == self._seen, content
        if not settled or (content == self._refused and time.monotonic() < self._retry_at):
            return
        try:
            self._load(version)
        except CrossDistilError as error:
            self._refuse(content, str(error))
            return
        _say(f"serving {self._store.name} version {version.name}")
        self._drop_all_but(int(version.name))

    def _refuse(self, content: object, reason: str) -> None:
        if content != self._refused:
            self._refused, self._retries, self._told = content, iter(RETRY_SECONDS), ""
        self._retry_at = time.monotonic() + next(self._retries, math.inf)
        self._complain(reason)

    def _complain(self, reason: str) -> None:
        """Says what is wrong, once while it stays so."""
        if reason != self._told:
            self._told = reason
            _say(f"error: {' '.join(reason.split())}; {self._still_serving()}", error=True)

    def _load(self, version: Path) -> None:
        self._store.tell_loading(int(version.name))
        try:
            self._store.add(load(version))
        except CrossDistilError as error:
            self._store.tell_refused(int(version.name), str(error))
            raise

    def _drop_all_but(self, kept: int | None) -> None:
        for version in self._store.versions:
            if version != kept:
                self._store.drop(version)

    def _still_serving(self) -> str:
        versions = ", ".join(str(version) for version in self._store.versions)
        return f"version {versions} keeps serving" if versions else "no version serves"


def _say(line: str, error: bool = False) -> None:
    # Who started the server may have stopped to read what it says.
    with suppress(OSError):
        print(line, file=sys.stderr if error else sys.stdout, flush=True)
