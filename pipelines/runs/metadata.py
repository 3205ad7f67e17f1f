# SPDX-License-Identifier: Apache-2.0
"""The metadata of a run, out of what its steps reported."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipelines.encoding.tally import Tally
from pipelines.runs.reports import RangeReport, Reports
from pipelines.sources.inputs import InputInfo
from tf_crossdistil import __version__
from tf_crossdistil.config import SPLITS, Experiment
from tf_crossdistil.schema import InputFile, Metadata, NumericStatistics, SplitRates


def summarize(experiment: Experiment, identity: str, inputs: Sequence[InputInfo], reports: Reports) -> Metadata:
    """Counts, rates and statistics over all ranges; how the run compares with others is left open."""
    counts = {split: Counter[str]() for split in SPLITS}
    for entry in reports.files:
        if entry.split is not None and entry.tag is not None:
            counts[entry.split][entry.tag] += entry.rows or 0
    tallies = {
        split: _total([report.tallies[split] for report in reports.ranges if split in report.tallies]) for split in SPLITS
    }
    by_path: dict[str, list[RangeReport]] = {file.path: [] for file in inputs if not file.joined}
    for report in reports.ranges:
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
        dead_letters=_sums(report.dead_letters for report in reports.ranges),
        counts={split: dict(sorted(tags.items())) for split, tags in counts.items()},
        rates={
            split: _rates(experiment, tags, tallies[split], reports.survey.labels[split])
            for split, tags in counts.items()
            if tags
        },
        truncated=_sums(tally.truncated for tally in tallies.values()),
        vocabularies=reports.survey.vocabularies,
        numeric=reports.survey.numeric,
        inputs=files,
    )


def unlabelled_warnings(metadata: Metadata) -> list[str]:
    """A sentence for every split but the first, with rows, in which a task has no label though the first has some."""
    training, *others = SPLITS
    known = metadata.rates[training].labelled if training in metadata.rates else {}
    return [
        f"no row of the {split} split has a label of task '{task}', so that it cannot be measured there"
        for split in others
        if split in metadata.rates
        for task, share in known.items()
        if share and not metadata.rates[split].labelled[task]
    ]


def _rates(experiment: Experiment, counts: Counter[str], tally: Tally, numbers: Mapping[str, NumericStatistics]) -> SplitRates:
    by_label = {task: Counter[str]() for task in experiment.binary_names}
    for tag, rows in counts.items():
        for task, digit in zip(experiment.binary_names, tag, strict=True):
            by_label[task][digit] += rows
    labelled = {task: digits["0"] + digits["1"] for task, digits in by_label.items()}
    labelled |= {task: labels.count for task, labels in numbers.items()}
    return SplitRates(
        positive={task: digits["1"] / labelled[task] for task, digits in by_label.items() if labelled[task]},
        mean={task: labels.mean for task, labels in numbers.items() if labels.count},
        deviation={task: labels.deviation for task, labels in numbers.items() if labels.count},
        labelled={task: labelled[task] / counts.total() for task in experiment.task_names},
        missing={feature: rows / tally.rows for feature, rows in tally.missing.items()},
        oov={feature: tally.oov.get(feature, 0) / values for feature, values in tally.values.items() if values},
    )


def _total(tallies: Sequence[Tally]) -> Tally:
    return Tally(
        rows=sum(tally.rows for tally in tallies),
        missing=_sums(tally.missing for tally in tallies),
        values=_sums(tally.values for tally in tallies),
        oov=_sums(tally.oov for tally in tallies),
        truncated=_sums(tally.truncated for tally in tallies),
    )


def _sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for part in counts:
        total.update(part)
    return dict(sorted(total.items()))
