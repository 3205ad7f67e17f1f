# SPDX-License-Identifier: Apache-2.0
"""Settling a survey: refusing logs that cannot train, then fixing vocabularies and statistics for the encoders."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.encoding.lookup import id_count
from pipelines.runs.reports import SurveyReport, write_survey
from pipelines.runs.sink import write_file
from pipelines.runs.storage import RunPath
from pipelines.sources.blocks import InputRange
from pipelines.sources.joins import check_matched
from pipelines.survey.moments import Moments
from pipelines.survey.precision import check_precision
from pipelines.survey.survey import Survey
from pipelines.survey.vocabulary import parse_vocabulary, vocabulary_bytes
from tf_crossdistil.config import SAMPLE_WEIGHT, SPLITS, Experiment, NumericFeature, VocabularyFeature
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import FileEntry, NumericStatistics, PreparedData, Vocabulary


def settle(
    survey: Survey,
    experiment: Experiment,
    run: RunPath,
    ranges: Sequence[InputRange],
    max_bad_fraction: float,
    frozen: PreparedData | None = None,
) -> SurveyReport:
    """Checks the findings and writes the vocabularies into the run's directory.

    Args:
        survey: the findings over all ranges.
        experiment: the configuration.
        run: the run's directory.
        ranges: all ranges, in order.
        max_bad_fraction: the share of bad rows that is borne.
        frozen: the run whose vocabularies and statistics are taken over. Nothing need be learnt from the logs then, so
            they may lack training rows.

    Raises:
        CrossDistilError: too many rows are bad, no row is in a joined table, a task cannot be learnt from the training split,
            all of that has no weight, or a file of the frozen run is damaged.
    """
    rows = [survey.ranges[part.index].rows for part in ranges]
    rows_before = _rows_before(ranges, rows)
    unmatched = sum((survey.ranges[part.index].unmatched for part in ranges), Counter[str]())
    # Rows are bad for want of a table's columns, too.
    check_matched(unmatched, sum(survey.ranges[part.index].read for part in ranges))
    _check_bad_rows(survey, ranges, rows_before, max_bad_fraction)
    if frozen is None:
        _check_training_rows(survey, experiment)
        check_precision(experiment, _label_statistics(survey.labels[SPLITS[0]]))
    vocabularies, files = {}, []
    for feature in experiment.features:
        if isinstance(feature, VocabularyFeature) and feature.share_with is None:
            vocabularies[feature.name], entry = (
                _write_vocabulary(survey, feature, run) if frozen is None else _copy_vocabulary(frozen, feature, run)
            )
            files.append(entry)
    report = SurveyReport(
        rows=rows,
        rows_before=rows_before,
        vocabularies=vocabularies,
        numeric=_all_statistics(survey, experiment) if frozen is None else frozen.metadata.numeric,
        labels={split: _label_statistics(labels) for split, labels in survey.labels.items()},
        unmatched=unmatched,
        files=files,
    )
    write_survey(run, report)
    return report


def _write_vocabulary(survey: Survey, feature: VocabularyFeature, run: RunPath) -> tuple[Vocabulary, FileEntry]:
    values = survey.values[feature.name].vocabulary(feature)
    entry = write_file(run, _vocabulary_path(feature.name), vocabulary_bytes(values))
    return Vocabulary(size=len(values), ids=id_count(len(values), feature.oov_buckets), sha256=entry.sha256), entry


def _copy_vocabulary(frozen: PreparedData, feature: VocabularyFeature, run: RunPath) -> tuple[Vocabulary, FileEntry]:
    source = frozen.vocabulary_file(feature.name)
    entry = write_file(run, _vocabulary_path(feature.name), source.read_bytes())
    known = frozen.metadata.vocabularies[feature.name]
    if entry.sha256 != known.sha256:
        raise CrossDistilError(
            f"{source} is damaged: its sha256 is {entry.sha256}, but the run's metadata says {known.sha256}; restore the file, "
            "or take the vocabulary from another run"
        )
    return known, entry


def _all_statistics(survey: Survey, experiment: Experiment) -> dict[str, NumericStatistics]:
    """By numeric feature and regression task, and those of the sample weight if there is one."""
    result = {
        feature.name: _statistics(survey, feature) for feature in experiment.features if isinstance(feature, NumericFeature)
    }
    result |= _label_statistics(survey.labels[SPLITS[0]])
    if experiment.sample_weight is not None:
        result[SAMPLE_WEIGHT] = survey.moments[experiment.sample_weight].statistics()
        if not result[SAMPLE_WEIGHT].mean:
            raise CrossDistilError(
                f"column '{experiment.sample_weight}' weighs every row of the training split 0, so nothing can be learnt; "
                "sample_weight must name a column with weights above 0"
            )
    return result


def _label_statistics(labels: Mapping[str, Moments]) -> dict[str, NumericStatistics]:
    return {task: moments.statistics() for task, moments in labels.items()}


def _statistics(survey: Survey, feature: NumericFeature) -> NumericStatistics:
    column = feature.source_column
    statistics = survey.moments[column].statistics()
    boundaries = survey.quantiles[column].boundaries(feature.buckets) if feature.buckets else feature.boundaries
    return statistics.model_copy(update={"boundaries": boundaries or []})


def read_vocabularies(run: RunPath, report: SurveyReport) -> dict[str, Any]:
    """The vocabularies that `settle` wrote, a `pa.StringArray` by the feature that owns it."""
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
    for task in experiment.tasks:
        if fault := _LEARNT[task.kind](survey, task.name):
            raise CrossDistilError(
                f"task '{task.name}' has {fault}, so nothing can be learnt; check its column '{task.column}' and how the "
                "configuration reads it, or give more logs"
            )


def _one_class(survey: Survey, task: str) -> str:
    positives, negatives = survey.positives[task], survey.negatives[task]
    if positives and negatives:
        return ""
    lacking = "negative" if positives else "positive"
    return f"no {lacking} row among the {positives + negatives:,} of the training split that have its label"


def _one_number(survey: Survey, task: str) -> str:
    labels = survey.labels[SPLITS[0]][task].statistics()
    if not labels.count:
        return "a label in no row of the training split"
    if labels.minimum < labels.maximum:
        return ""
    return f"the label {labels.minimum:.15g} in each of the {labels.count:,} rows of the training split that have it"


# What keeps a task from being learnt, or nothing.
_LEARNT: dict[str, Callable[[Survey, str], str]] = {"binary": _one_class, "regression": _one_number}
