"""Settling a survey: refusing logs that cannot train, then fixing vocabularies and statistics for the encoders."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.encoding.records import categorical_ids
from pipelines.runs.reports import SurveyReport, write_survey
from pipelines.runs.sink import write_file
from pipelines.sources.blocks import InputRange
from pipelines.statistics.survey import Survey
from pipelines.statistics.vocabulary import parse_vocabulary, vocabulary_bytes
from tf_crossdistil.config import CategoricalFeature, Experiment, NumericFeature
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import Vocabulary


def settle(
    survey: Survey, experiment: Experiment, run: Path, ranges: Sequence[InputRange], max_bad_fraction: float
) -> SurveyReport:
    """Checks the findings and writes the vocabularies into the run's directory.

    Raises:
        CrossDistilError: too many rows are bad, or a task cannot be learnt from the training split.
    """
    rows = [survey.ranges[part.index].rows for part in ranges]
    rows_before = _rows_before(ranges, rows)
    _check_bad_rows(survey, ranges, rows_before, max_bad_fraction)
    _check_training_rows(survey, experiment)
    vocabularies, files = {}, []
    for feature in experiment.features:
        if isinstance(feature, CategoricalFeature):
            values = survey.values[feature.source_column].vocabulary(feature)
            entry = write_file(run, _vocabulary_path(feature.name), vocabulary_bytes(values))
            files.append(entry)
            vocabularies[feature.name] = Vocabulary(
                size=len(values), ids=categorical_ids(feature, len(values)), sha256=entry.sha256
            )
    report = SurveyReport(
        rows=rows,
        rows_before=rows_before,
        vocabularies=vocabularies,
        numeric={
            f.name: survey.moments[f.source_column].statistics() for f in experiment.features if isinstance(f, NumericFeature)
        },
        files=files,
    )
    write_survey(run, report)
    return report


def read_vocabularies(run: Path, report: SurveyReport) -> dict[str, Any]:
    """The vocabularies that `settle` wrote, a `pa.StringArray` by feature."""
    return {name: parse_vocabulary((run / _vocabulary_path(name)).read_bytes()) for name in report.vocabularies}


def _vocabulary_path(feature: str) -> str:
    return f"vocabulary/{feature}.txt"


def _rows_before(ranges: Sequence[InputRange], rows: Sequence[int]) -> list[int]:
    seen: defaultdict[str, int] = defaultdict(int)
    result = []
    for part, count in zip(ranges, rows, strict=True):
        result.append(seen[part.path])
        seen[part.path] += count
    return result


def _check_bad_rows(survey: Survey, ranges: Sequence[InputRange], rows_before: Sequence[int], most: float) -> None:
    rows = sum(summary.rows for summary in survey.ranges.values())
    if not rows:
        raise CrossDistilError("the input holds no row of logs; give files with rows behind the header")
    reasons = sum((summary.reasons for summary in survey.ranges.values()), Counter[str]())
    if reasons.total() <= most * rows:
        return
    counts = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    first = next(part for part in ranges if survey.ranges[part.index].first_bad)
    position, message = survey.ranges[first.index].first_bad or (0, "")
    raise CrossDistilError(
        f"{reasons.total():,} of {rows:,} rows are bad ({reasons.total() / rows:.2%}, at most {most:.2%} may be): {counts}; "
        f"the first is row {rows_before[first.index] + position + 1} of {first.path}: {message}; mend the logs or the "
        "configuration, or raise --max-bad-fraction"
    )


def _check_training_rows(survey: Survey, experiment: Experiment) -> None:
    if not survey.training_rows:
        raise CrossDistilError(
            "no good row belongs to the training split; check the boundaries or fractions of 'split' in the configuration"
        )
    for task, positives in zip(experiment.tasks, survey.positives, strict=True):
        lacking = {0: "positive", survey.training_rows: "negative"}.get(int(positives))
        if lacking:
            raise CrossDistilError(
                f"task '{task.name}' has no {lacking} row among the {survey.training_rows:,} of the training split, so nothing "
                f"can be learnt; check its column '{task.column}' and how the configuration reads it, or give more logs"
            )
