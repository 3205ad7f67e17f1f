# SPDX-License-Identifier: Apache-2.0
"""What a prepared data set holds, as tables for a person."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tf_crossdistil.config import SPLITS
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import METADATA_FILE, NEARLY_EMPTY_ROWS, Metadata, PreparedData
from tf_crossdistil.tags import MISSING

_LOG_WIDTH = 200
# More label combinations, or boundaries of buckets, than these are not listed one by one.
_MOST_TAGS = 8
_MOST_BOUNDARIES = 6
# A title wider than its table would be broken into lines.
_TITLE_WIDTH = 72


class _Task(BaseModel):
    name: str
    kind: str = "binary"
    given: str | None = None


class _Config(BaseModel):
    """The part of a configuration that is shown; the others may be those of another version."""

    tasks: list[_Task]


def wide_console(stderr: bool = False, quiet: bool = False) -> Console:
    """A console that does not cut tables where no terminal shows them, such as a scheduler's log."""
    console = Console(stderr=stderr, quiet=quiet)
    if not console.is_terminal:
        console.width = max(console.width, _LOG_WIDTH)
    return console


def show_prepared(data: PreparedData, console: Console) -> None:
    """Prints counts by split and tag, rates, labels of regression tasks, vocabularies, numeric statistics and dead letters.

    Warnings are printed last.

    Raises:
        CrossDistilError: the metadata is damaged.
    """
    metadata = data.metadata
    tasks = _tasks(metadata)
    binary = [task.name for task in _binary(tasks)]
    size = sum(entry.bytes for entry in data.manifest.files)
    console.print(
        f"[bold]{metadata.name}[/bold]: {metadata.rows_out:,} of {metadata.rows_in:,} rows "
        f"from {_count(len(metadata.inputs), 'file')}, {size / 2**20:,.1f} MiB in {data.directory}",
        highlight=False,
        soft_wrap=True,
    )
    for table in (
        _counts(metadata, binary),
        _labelled(metadata, [task.name for task in tasks]),
        _positive_rates(metadata, binary),
        _labels(metadata, [task.name for task in tasks if task.name not in binary]),
        _missing(metadata),
        _oov(metadata),
        _vocabularies(metadata),
        _numeric(metadata),
        _dead_letters(metadata),
    ):
        if table.row_count:
            console.print(table)
    for warning in (*metadata.warnings, *warnings(metadata)):
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)


def warnings(metadata: Metadata) -> list[str]:
    """Sentences on the label combinations that training will hardly see, and on splits without rows."""
    empty = [f"the {split} split has no row" for split in SPLITS[1:] if not metadata.counts.get(split)]
    # Later logs with an earlier vocabulary need not be there to be trained on.
    later = metadata.vocabulary_from and not metadata.counts.get(SPLITS[0])
    training = metadata.rates.get(SPLITS[0])
    void = [
        f"'{name}' has no value in the training split"
        for name, share in (training.missing if training else {}).items()
        if share == 1
    ]
    return empty if later else [*_thin_strata(metadata), *empty, *void]


def _thin_strata(metadata: Metadata) -> list[str]:
    tasks = _binary(_tasks(metadata))
    names = ", ".join(task.name for task in tasks)
    training = {tag: rows for tag, rows in metadata.counts.get(SPLITS[0], {}).items() if _is_whole(tag, tasks)}
    thin = {tag: rows for tag, rows in training.items() if rows < NEARLY_EMPTY_ROWS}
    combinations = _count_whole(tasks)
    absent = combinations - len(training)
    if len(thin) + absent > _MOST_TAGS:
        return [
            f"{absent:,} of the {combinations:,} label combinations ({names}) have no training row, and "
            f"{len(thin):,} have fewer than {NEARLY_EMPTY_ROWS}; ranking terms between them are weak or left out"
        ]
    thin |= {tag: 0 for tag in _whole_tags(tasks) if tag not in training} if absent else {}
    result = []
    for tag, rows in sorted(thin.items()):
        found = f"has only {_count(rows, 'training row')}" if rows else "has no training row"
        result.append(
            f"the stratum tag={tag} ({names}) {found}; below {NEARLY_EMPTY_ROWS} its draws repeat, "
            "and its ranking terms are weak or left out"
        )
    return result


def _is_whole(tag: str, tasks: Sequence[_Task]) -> bool:
    """Whether a tag lacks labels only where `given` says so."""
    digits = {task.name: digit for task, digit in zip(tasks, tag, strict=True)}
    return all((digits[task.name] == MISSING) == (digits.get(task.given or "", "1") != "1") for task in tasks)


def _count_whole(tasks: Sequence[_Task], condition: str | None = None) -> int:
    """How many combinations the tasks have whose `condition` holds, with all that depend on these."""
    return prod(1 + _count_whole(tasks, task.name) for task in tasks if task.given == condition)


def _whole_tags(tasks: Sequence[_Task]) -> list[str]:
    """All tags that are whole."""
    return ["".join(labels.get(task.name, MISSING) for task in tasks) for labels in _whole_labels(tasks)]


def _whole_labels(tasks: Sequence[_Task], condition: str | None = None) -> list[dict[str, str]]:
    choices = [
        [{task.name: "0"}, *({task.name: "1"} | others for others in _whole_labels(tasks, task.name))]
        for task in tasks
        if task.given == condition
    ]
    return [{name: label for part in parts for name, label in part.items()} for parts in product(*choices)]


def _tasks(metadata: Metadata) -> list[_Task]:
    try:
        return _Config.model_validate(metadata.config).tasks
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("config", *first["loc"]))
        raise CrossDistilError(
            f"{METADATA_FILE} of run {metadata.run} is damaged: {where} {first['msg'].lower()}; make it again"
        ) from error


def _binary(tasks: Sequence[_Task]) -> list[_Task]:
    return [task for task in tasks if task.kind == "binary"]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _boundaries(boundaries: list[float]) -> str:
    shown = [f"{boundary:.6g}" for boundary in boundaries]
    if len(shown) > _MOST_BOUNDARIES:
        shown[_MOST_BOUNDARIES // 2 : -(_MOST_BOUNDARIES // 2)] = ["..."]
    return " ".join(shown)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", min_width=min(len(title), _TITLE_WIDTH))
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position else "left", no_wrap=not position)
    return table


def _counts(metadata: Metadata, tasks: list[str]) -> Table:
    total = sum(map(Counter, metadata.counts.values()), Counter[str]())
    title = f"rows by split and tag ({', '.join(tasks)})"
    if len(total) > _MOST_TAGS:
        return _counts_of_many(metadata, total, title)
    table = _table(title, "split", "rows", *(f"tag={tag}" for tag in sorted(total)))
    for split in SPLITS:
        counts = metadata.counts.get(split, {})
        table.add_row(split, f"{sum(counts.values()):,}", *(f"{counts.get(tag, 0):,}" for tag in sorted(total)))
    return table


def _counts_of_many(metadata: Metadata, total: Counter[str], title: str) -> Table:
    """One row a tag, the most frequent first, where a column a tag would not fit."""
    shown = sorted(total, key=lambda tag: (-total[tag], tag))[:_MOST_TAGS]
    counts = [metadata.counts.get(split, {}) for split in SPLITS]
    table = _table(title, "tag", *SPLITS)
    for tag in shown:
        table.add_row(f"tag={tag}", *(f"{split.get(tag, 0):,}" for split in counts))
    others = (sum(rows for tag, rows in split.items() if tag not in shown) for split in counts)
    table.add_row(f"{len(total) - len(shown):,} others", *(f"{rows:,}" for rows in others))
    table.add_row("all", *(f"{sum(split.values()):,}" for split in counts))
    return table


def _labelled(metadata: Metadata, tasks: list[str]) -> Table:
    rates = {split: rates.labelled for split, rates in metadata.rates.items()}
    lacking = [task for task in tasks if any(shares.get(task, 1.0) < 1 for shares in rates.values())]
    return _by_split("rows that have the label", {split: _shares(share) for split, share in rates.items()}, lacking)


def _positive_rates(metadata: Metadata, tasks: list[str]) -> Table:
    return _by_split("positive rates", {split: _shares(rates.positive) for split, rates in metadata.rates.items()}, tasks)


def _labels(metadata: Metadata, tasks: list[str]) -> Table:
    cells = {
        split: {
            f"{task} {what}": f"{values[task]:.6g}"
            for task in rates.mean
            for what, values in (("mean", rates.mean), ("deviation", rates.deviation))
        }
        for split, rates in metadata.rates.items()
    }
    return _by_split(
        "labels of regression tasks", cells, [f"{task} {what}" for task in tasks for what in ("mean", "deviation")]
    )


def _by_split(title: str, cells: Mapping[str, Mapping[str, str]], columns: list[str]) -> Table:
    table = _table(title, "split", *columns)
    for split in SPLITS if cells and columns else ():
        table.add_row(split, *(cells.get(split, {}).get(column, "") for column in columns))
    return table


def _missing(metadata: Metadata) -> Table:
    rates = {split: metadata.rates[split].missing for split in SPLITS if split in metadata.rates}
    lacking = {name for rate in rates.values() for name, share in rate.items() if share}
    rates = {split: {name: share for name, share in rate.items() if name in lacking} for split, rate in rates.items()}
    truncated = {name: f"{rows:,}" for name, rows in metadata.truncated.items()}
    more = {"truncated rows": truncated} if truncated else {}
    return _by_feature("missing values", {split: _shares(rate) for split, rate in rates.items()} | more)


def _oov(metadata: Metadata) -> Table:
    rates = {split: metadata.rates[split].oov for split in SPLITS if split in metadata.rates}
    if metadata.vocabulary_from:
        rates = {f"unseen rows of run {metadata.vocabulary_from}": metadata.vocabulary_oov} | rates
    return _by_feature("values out of vocabulary", {split: _shares(rate) for split, rate in rates.items()})


def _by_feature(title: str, columns: Mapping[str, Mapping[str, str]]) -> Table:
    table = _table(title, "feature", *columns)
    for feature in dict.fromkeys(name for cells in columns.values() for name in cells):
        table.add_row(feature, *(cells.get(feature, "") for cells in columns.values()))
    return table


def _shares(rates: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{share:.2%}" for name, share in rates.items()}


def _vocabularies(metadata: Metadata) -> Table:
    table = _table("vocabularies", "feature", "values", "ids")
    for feature, vocabulary in metadata.vocabularies.items():
        table.add_row(feature, f"{vocabulary.size:,}", f"{vocabulary.ids:,}")
    return table


def _numeric(metadata: Metadata) -> Table:
    bucketized = any(statistics.boundaries for statistics in metadata.numeric.values())
    columns = ["feature", "count", "missing", "mean", "deviation", "minimum", "maximum", *["boundaries"] * bucketized]
    table = _table("numbers in the training split", *columns)
    for feature, statistics in metadata.numeric.items():
        values = (statistics.mean, statistics.deviation, statistics.minimum, statistics.maximum)
        cells = [f"{statistics.count:,}", f"{statistics.missing:,}", *(f"{value:.6g}" for value in values)]
        table.add_row(feature, *cells, *[_boundaries(statistics.boundaries)] * bucketized)
    return table


def _dead_letters(metadata: Metadata) -> Table:
    table = _table("dead letters", "reason", "rows")
    for reason, rows in metadata.dead_letters.items():
        table.add_row(reason, f"{rows:,}")
    return table
