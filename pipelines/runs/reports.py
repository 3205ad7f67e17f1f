"""What the steps of the pipeline leave for the launcher: JSON files in the working directory of a run."""

from pathlib import Path

from pydantic import BaseModel

from pipelines.runs.sink import write_file
from tf_crossdistil.schema import FileEntry, NumericStatistics, Vocabulary

WORK_DIRECTORY = "work"
_SURVEY = f"{WORK_DIRECTORY}/survey.json"


class SurveyReport(BaseModel):
    """What the first look over all ranges settled; `rows_before` is, by range, the rows of its file ahead of it."""

    rows: list[int]
    rows_before: list[int]
    vocabularies: dict[str, Vocabulary]
    numeric: dict[str, NumericStatistics]
    files: list[FileEntry]


class RangeReport(BaseModel):
    """What encoding one range gave."""

    path: str
    rows_in: int
    dead_letters: dict[str, int]
    files: list[FileEntry]
    sample: list[str]

    @property
    def rows_out(self) -> int:
        """The records written."""
        return sum(entry.rows or 0 for entry in self.files)


def write_survey(run: Path, report: SurveyReport) -> None:
    """Leaves the report of the first look in the run's directory."""
    write_file(run, _SURVEY, report.model_dump_json().encode())


def read_survey(run: Path) -> SurveyReport:
    """The report of the first look."""
    return SurveyReport.model_validate_json((run / _SURVEY).read_bytes())


def write_range(run: Path, index: int, report: RangeReport) -> None:
    """Leaves the report of range `index` in the run's directory."""
    write_file(run, f"{WORK_DIRECTORY}/range-{index:05d}.json", report.model_dump_json().encode())


def read_ranges(run: Path) -> list[RangeReport]:
    """The reports of all ranges that were encoded, in order."""
    return [RangeReport.model_validate_json(path.read_bytes()) for path in sorted((run / WORK_DIRECTORY).glob("range-*.json"))]
