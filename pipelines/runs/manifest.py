"""Publication of a run: its identity, its directory, and the order in which its files become visible."""

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from pipelines.runs.reports import WORK_DIRECTORY, RangeReport, SurveyReport, read_ranges, read_survey
from pipelines.runs.sink import explained, write_file
from pipelines.sources.inputs import InputInfo
from tf_crossdistil import __version__
from tf_crossdistil.config import SPLITS, Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import (
    LATEST_FILE,
    MANIFEST_FILE,
    METADATA_FILE,
    RUN_PREFIX,
    SAMPLE_FILE,
    SUCCESS_FILE,
    InputFile,
    Manifest,
    Metadata,
    PreparedData,
    SplitRates,
)
from tf_crossdistil.tags import tag_labels

SAMPLE_ROWS = 256
_ID_DIGITS = 12
_REMOVALS = 5
_SECONDS_BETWEEN_REMOVALS = 0.1


def run_id(experiment: Experiment, inputs: Sequence[InputInfo]) -> str:
    """Twelve hex digits over all that the files of a run depend on: data part of the configuration, inputs, version."""
    content = {
        "schema": experiment.schema_hash(),
        "data": experiment.model_dump(mode="json", include={"name", "tasks", "source", "split"}),
        "inputs": [[file.path, file.size, file.modified] for file in inputs],
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_ID_DIGITS]


class Run:
    """The directory of one run below `output`. Readers see it once `_SUCCESS` is there and `LATEST` names it."""

    def __init__(self, output: Path, identity: str) -> None:
        self.identity = identity
        self.directory = output / f"{RUN_PREFIX}{identity}"
        self._output = output

    def finished(self) -> PreparedData | None:
        """What an earlier run has made, or None where it did not finish or its files are damaged by now."""
        try:
            return PreparedData.open(self.directory)
        except CrossDistilError:
            return None

    def begin(self) -> None:
        """Makes the directory, without what a run that did not finish may have left there.

        Raises:
            CrossDistilError: the output cannot be written.
        """
        with explained(self._output):
            self.discard()
            (self.directory / WORK_DIRECTORY).mkdir(parents=True)

    def discard(self) -> None:
        """Removes what there is of the run; workers that still run then fail at their next file."""
        # Until the directory itself is gone, they may add files behind the back of the removal.
        for _ in range(_REMOVALS):
            shutil.rmtree(self.directory, ignore_errors=True)
            if not self.directory.exists():
                return
            time.sleep(_SECONDS_BETWEEN_REMOVALS)
        shutil.rmtree(self.directory)

    def publish(self, experiment: Experiment, inputs: Sequence[InputInfo], ranges: int) -> PreparedData:
        """Writes sample, metadata and manifest, and last `_SUCCESS` and `LATEST`.

        Raises:
            CrossDistilError: rows got lost on the way.
        """
        survey, reports = read_survey(self.directory), read_ranges(self.directory)
        _check_nothing_lost(survey, reports, ranges)
        metadata = _metadata(experiment, self.identity, inputs, survey, reports)
        files = [*survey.files, *(entry for report in reports for entry in report.files)]
        sample = [line for report in reports for line in report.sample][:SAMPLE_ROWS]
        files.append(write_file(self.directory, SAMPLE_FILE, "".join(f"{line}\n" for line in sample).encode()))
        files.append(write_file(self.directory, METADATA_FILE, _json(metadata)))
        manifest = Manifest(files=sorted(files, key=lambda entry: entry.path))
        write_file(self.directory, MANIFEST_FILE, _json(manifest))
        with explained(self.directory):
            shutil.rmtree(self.directory / WORK_DIRECTORY)
        write_file(self.directory, SUCCESS_FILE, b"")
        self.make_latest()
        return PreparedData(self.directory, metadata, manifest)

    def make_latest(self) -> None:
        """Points `LATEST` at this run."""
        write_file(self._output, LATEST_FILE, f"{self.identity}\n".encode())


def _json(document: BaseModel) -> bytes:
    return f"{document.model_dump_json(indent=2)}\n".encode()


def _check_nothing_lost(survey: SurveyReport, reports: Sequence[RangeReport], ranges: int) -> None:
    if len(reports) != ranges:
        raise CrossDistilError(
            f"the runner encoded {len(reports)} of {ranges} ranges and reported success; use another --runner"
        )
    for report, expected in zip(reports, survey.rows, strict=True):
        received = report.rows_out + sum(report.dead_letters.values())
        if not report.rows_in == received == expected:
            raise CrossDistilError(
                f"{report.path} changed while it was read: {expected} rows at first, {report.rows_in} later, {received} came "
                "out; run again when nothing writes to it"
            )


def _metadata(
    experiment: Experiment, identity: str, inputs: Sequence[InputInfo], survey: SurveyReport, reports: Sequence[RangeReport]
) -> Metadata:
    counts = {split: Counter[str]() for split in SPLITS}
    for entry in (entry for report in reports for entry in report.files):
        if entry.split is not None and entry.tag is not None:
            counts[entry.split][entry.tag] += entry.rows or 0
    reasons = sum((Counter(report.dead_letters) for report in reports), Counter[str]())
    by_path: dict[str, list[RangeReport]] = {file.path: [] for file in inputs}
    for report in reports:
        by_path[report.path].append(report)
    files = [
        InputFile(
            path=path,
            rows_in=sum(part.rows_in for part in parts),
            rows_out=sum(part.rows_out for part in parts),
            dead_letters=sum(sum(part.dead_letters.values()) for part in parts),
        )
        for path, parts in by_path.items()
    ]
    return Metadata(
        name=experiment.name,
        run=identity,
        package_version=__version__,
        schema_hash=experiment.schema_hash(),
        config=experiment.model_dump(mode="json"),
        rows_in=sum(file.rows_in for file in files),
        rows_out=sum(file.rows_out for file in files),
        dead_letters=dict(sorted(reasons.items())),
        counts={split: dict(sorted(tags.items())) for split, tags in counts.items()},
        rates={
            split: SplitRates(positive=_positive_rates(experiment.task_names, tags), missing={}, oov={})
            for split, tags in counts.items()
            if tags
        },
        vocabularies=survey.vocabularies,
        numeric=survey.numeric,
        inputs=files,
    )


def _positive_rates(tasks: Sequence[str], counts: Counter[str]) -> dict[str, float]:
    positives = {task: sum(rows for tag, rows in counts.items() if tag_labels(tag)[i]) for i, task in enumerate(tasks)}
    return {task: rows / counts.total() for task, rows in positives.items()}
