"""Publication of a run: its identity, its directory, and the order in which its files become visible."""

import hashlib
import json
import uuid
from collections.abc import Sequence

from pydantic import BaseModel

from pipelines.runs.reports import Reports
from pipelines.runs.sink import write_file
from pipelines.runs.storage import WORK_DIRECTORY, RunPath, explained, open_prepared, remove_tree
from pipelines.sources.inputs import InputInfo
from tf_crossdistil import __version__
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import (
    LATEST_FILE,
    MANIFEST_FILE,
    METADATA_FILE,
    RUN_PREFIX,
    SAMPLE_FILE,
    SUCCESS_FILE,
    Manifest,
    Metadata,
    PreparedData,
)

SAMPLE_ROWS = 256
ID_DIGITS = 12


def run_id(experiment: Experiment, inputs: Sequence[InputInfo], frozen: PreparedData | None, global_shuffle: bool) -> str:
    """Twelve hex digits over all that the records of a run depend on.

    They are the data part of the configuration, the inputs, the run whose vocabulary is taken over, the order of records
    and the version of this package. What the run is compared with for drift does not count.
    """
    content = {
        "schema": experiment.schema_hash(),
        "data": experiment.model_dump(mode="json", include={"name", "tasks", "source", "split"}),
        "inputs": [[file.path, file.size, file.modified] for file in inputs],
        "vocabulary_from": frozen and frozen.metadata.run,
        "global_shuffle": global_shuffle,
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:ID_DIGITS]


class Run:
    """The directory of one run below `output`. Readers see it once `_SUCCESS` is there and `LATEST` names it."""

    def __init__(self, output: RunPath, identity: str) -> None:
        self.identity = identity
        self.directory = output / f"{RUN_PREFIX}{identity}"
        self.output = output

    @property
    def is_complete(self) -> bool:
        """Whether all of it was written; files may have been damaged since."""
        return (self.directory / SUCCESS_FILE).is_file()

    def finished(self) -> PreparedData | None:
        """What an earlier run has made, or None where it did not finish or its files are damaged by now."""
        try:
            return open_prepared(self.directory)
        except CrossDistilError:
            return None

    def begin(self) -> None:
        """Makes the directory, without what a run that did not finish may have left there.

        Raises:
            CrossDistilError: the output cannot be written.
        """
        with explained(self.output):
            self._remove()
            work = self.directory / WORK_DIRECTORY
            work.mkdir(parents=True)
            (work / "begun").write_bytes(b"")

    def discard(self) -> None:
        """Removes what there is of the run, unless it is complete; workers that still run then fail at their next file.

        Raises:
            CrossDistilError: something cannot be removed; the next run in the output will try again.
        """
        with explained(self.output):
            if not self.is_complete:
                self._remove()

    def publish(self, metadata: Metadata, reports: Reports) -> PreparedData:
        """Writes sample, metadata and manifest, and last `_SUCCESS` and `LATEST`.

        Raises:
            CrossDistilError: a file got lost on the way, or one cannot be written.
        """
        sample = [line for report in reports.ranges for line in report.sample][:SAMPLE_ROWS]
        files = reports.files
        files.append(write_file(self.directory, SAMPLE_FILE, "".join(f"{line}\n" for line in sample).encode()))
        files.append(write_file(self.directory, METADATA_FILE, _json(metadata)))
        manifest = Manifest(files=sorted(files, key=lambda entry: entry.path))
        write_file(self.directory, MANIFEST_FILE, _json(manifest))
        data = PreparedData(self.directory, metadata, manifest)  # type: ignore[arg-type]
        with explained(self.directory):
            data.check_files()
            # From here on no worker can write, whatever is left of them.
            remove_tree(self.directory / WORK_DIRECTORY)
            (self.directory / SUCCESS_FILE).write_bytes(b"")
        self.make_latest()
        return data

    def make_latest(self) -> None:
        """Points `LATEST` at this run."""
        aside = self.output / f"{ASIDE_PREFIX}{uuid.uuid4().hex}"
        with explained(self.output / LATEST_FILE):
            try:
                aside.write_bytes(f"{self.identity}\n".encode())
                aside.replace(self.output / LATEST_FILE)  # type: ignore[arg-type]
            except OSError:
                aside.unlink(missing_ok=True)
                raise

    def _remove(self) -> None:
        # A run that is taken apart must not look complete.
        (self.directory / SUCCESS_FILE).unlink(missing_ok=True)
        remove_tree(self.directory)


ASIDE_PREFIX = f".{LATEST_FILE}."


def choose_run(output: RunPath, identity: str, force: bool) -> tuple[Run, PreparedData | None]:
    """The run to make, and what it holds if it need not be made.

    With `force` a run is made beside the complete ones of the same identity, as `<id>-2` and so on, and theirs are kept.
    """
    complete: list[Run] = []
    candidate = Run(output, identity)
    while candidate.is_complete:
        complete.append(candidate)
        candidate = Run(output, f"{identity}-{len(complete) + 1}")
    for run in reversed(complete):
        if data := run.finished():
            return (candidate, None) if force else (run, data)
    return Run(output, identity), None


def latest_run(output: RunPath) -> str | None:
    """The identity that `LATEST` holds, whether or not there is such a run; None without `LATEST`."""
    path = output / LATEST_FILE
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else None


def _json(document: BaseModel) -> bytes:
    return f"{document.model_dump_json(indent=2)}\n".encode()
