# SPDX-License-Identifier: Apache-2.0
"""Publication of a run: its identity, its directory, and the order in which its files become visible."""

import hashlib
import json
import re
import uuid
from collections.abc import Sequence

from pydantic import BaseModel

from pipelines.runs.attempts import begin_attempt, is_current, is_taken_over
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
        self._attempt = ""

    @property
    def is_complete(self) -> bool:
        """Whether all of it was written; files may have been damaged since."""
        return (self.directory / SUCCESS_FILE).is_file()

    def finished(self) -> PreparedData | None:
        """What an earlier run has made, or None where it did not finish or its files are damaged by now.

        Raises:
            CrossDistilError: its files cannot be read at the moment, which says nothing about them.
        """
        try:
            return open_prepared(self.directory)
        except CrossDistilError as error:
            if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
                raise
            return None

    def begin(self) -> str:
        """Makes the directory, without what a run that did not finish may have left, and gives the token of this attempt.

        Raises:
            CrossDistilError: the output cannot be written, or the run is complete.
        """
        with explained(self.output):
            if self.is_complete:
                raise CrossDistilError(f"{self.directory} is complete by now, so another job has made it; run again to find it")
            remove_tree(self.directory)
            self._attempt = begin_attempt(self.directory)
        return self._attempt

    def check_current(self) -> None:
        """Makes sure that the working directory still is this attempt's.

        Raises:
            CrossDistilError: another job has begun the run anew, or removed it.
        """
        with explained(self.output):
            if not is_current(self.directory, self._attempt):
                raise CrossDistilError(
                    f"another job has begun {self.directory} anew or removed it; give every job an output of its own, or let "
                    "jobs take turns"
                )

    def discard(self) -> None:
        """Removes what there is of the run, unless it is complete or another job's; workers notice and end.

        Raises:
            CrossDistilError: something cannot be removed; the next run in the output will try again.
        """
        with explained(self.output):
            if not self.is_complete and not is_taken_over(self.directory, self._attempt):
                remove_tree(self.directory)

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


ASIDE_PREFIX = f".{LATEST_FILE}."


def choose_run(output: RunPath, identity: str, force: bool) -> tuple[Run, PreparedData | None]:
    """The run to make, and what it holds if it need not be made.

    Complete runs of the same identity are kept, also damaged ones, which training may be reading: with `force`, or where all
    are damaged, one is made beside them, as `<id>-2` and so on.

    Raises:
        CrossDistilError: the output cannot be read.
    """
    complete = _complete_runs(output, identity)
    for number in sorted(complete, reverse=True):
        if not force and (data := complete[number].finished()):
            return complete[number], data
    return Run(output, f"{identity}-{max(complete) + 1}" if complete else identity), None


def _complete_runs(output: RunPath, identity: str) -> dict[int, Run]:
    runs = {}
    try:
        for mark in output.glob(f"{RUN_PREFIX}{identity}*/{SUCCESS_FILE}"):
            name = mark.parent.name.removeprefix(RUN_PREFIX)
            if found := re.fullmatch(rf"{identity}(?:-(\d+))?", name):
                runs[int(found[1] or 1)] = Run(output, name)
    except OSError as error:
        raise CrossDistilError(f"cannot read {output}: {error.strerror or error}; run again") from error
    return runs


def latest_run(output: RunPath) -> str | None:
    """The identity that `LATEST` holds, whether or not there is such a run; None without `LATEST`."""
    path = output / LATEST_FILE
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else None


def _json(document: BaseModel) -> bytes:
    return f"{document.model_dump_json(indent=2)}\n".encode()
