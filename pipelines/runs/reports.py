# SPDX-License-Identifier: Apache-2.0
"""What the steps of the pipeline leave for the launcher: JSON files in the working directory of a run."""

from dataclasses import dataclass

from pydantic import BaseModel

from pipelines.encoding.shuffle import read_shards
from pipelines.encoding.tally import Tally
from pipelines.runs.sink import write_file
from pipelines.runs.storage import WORK_DIRECTORY, RunPath, by_number
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import FileEntry, NumericStatistics, Vocabulary

_SURVEY = f"{WORK_DIRECTORY}/survey.json"


class SurveyReport(BaseModel):
    """What the first look over all ranges settled; `rows_before` is, by range, the rows of its file ahead of it.

    `labels` are those of regression tasks in these logs, by split and task, whatever run `numeric` was taken over from.
    `unmatched` counts, by its path, the rows that a joined table has no row for.
    """

    rows: list[int]
    rows_before: list[int]
    vocabularies: dict[str, Vocabulary]
    numeric: dict[str, NumericStatistics]
    labels: dict[str, dict[str, NumericStatistics]]
    unmatched: dict[str, int]
    files: list[FileEntry]


class RangeReport(BaseModel):
    """What encoding one range gave; `tallies` go by split, `spilled` counts records that a shuffle has yet to write."""

    path: str
    rows_in: int
    dead_letters: dict[str, int]
    files: list[FileEntry]
    sample: list[str]
    tallies: dict[str, Tally]
    spilled: int = 0

    @property
    def rows_out(self) -> int:
        """The records made."""
        return sum(entry.rows or 0 for entry in self.files) + self.spilled


@dataclass(frozen=True)
class Reports:
    """What all steps of a run left, the ranges in order; `shuffled` are the files of records that a shuffle wrote."""

    survey: SurveyReport
    ranges: list[RangeReport]
    shuffled: list[FileEntry]

    @property
    def files(self) -> list[FileEntry]:
        """The files of all steps."""
        return [*self.survey.files, *(entry for report in self.ranges for entry in report.files), *self.shuffled]


def write_survey(run: RunPath, report: SurveyReport) -> None:
    """Leaves the report of the first look in the run's directory."""
    write_file(run, _SURVEY, report.model_dump_json().encode())


def read_survey(run: RunPath) -> SurveyReport:
    """The report of the first look."""
    return SurveyReport.model_validate_json((run / _SURVEY).read_bytes())


def write_range(run: RunPath, index: int, report: RangeReport) -> None:
    """Leaves the report of range `index` in the run's directory."""
    write_file(run, f"{WORK_DIRECTORY}/range-{index:05d}.json", report.model_dump_json().encode())


def read_ranges(run: RunPath) -> list[RangeReport]:
    """The reports of all ranges that were encoded, in order."""
    paths = by_number((run / WORK_DIRECTORY).glob("range-*.json"))
    return [RangeReport.model_validate_json(path.read_bytes()) for path in paths]


def read_reports(run: RunPath, ranges: int) -> Reports:
    """All reports of a run over so many ranges.

    Raises:
        CrossDistilError: rows got lost on the way.
    """
    reports = Reports(read_survey(run), read_ranges(run), read_shards(run))
    if len(reports.ranges) != ranges:
        raise CrossDistilError(
            f"the runner encoded {len(reports.ranges)} of {ranges} ranges and reported success; use another --runner"
        )
    for report, expected in zip(reports.ranges, reports.survey.rows, strict=True):
        received = report.rows_out + sum(report.dead_letters.values())
        if not report.rows_in == received == expected:
            raise CrossDistilError(
                f"{report.path} changed while it was read: {expected} rows at first, {report.rows_in} later, {received} came "
                "out; run again when nothing writes to it"
            )
    spilled, shuffled = sum(report.spilled for report in reports.ranges), sum(entry.rows or 0 for entry in reports.shuffled)
    if spilled != shuffled:
        raise CrossDistilError(f"the runner shuffled {shuffled} of {spilled} rows and reported success; use another --runner")
    return reports
