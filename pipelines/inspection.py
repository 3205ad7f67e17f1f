"""What a prepared data set holds, as tables for a person."""

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table

from tf_crossdistil.config import SPLITS
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import METADATA_FILE, NEARLY_EMPTY_ROWS, Metadata, PreparedData
from tf_crossdistil.tags import all_tags


class _Task(BaseModel):
    name: str


class _Config(BaseModel):
    """The part of a configuration that is shown; the others may be those of another version."""

    tasks: list[_Task]


def show_prepared(data: PreparedData, console: Console) -> None:
    """Prints counts by split and tag, positive rates, vocabularies, numeric statistics, dead letters and warnings.

    Raises:
        CrossDistilError: the metadata is damaged.
    """
    metadata = data.metadata
    tasks = _task_names(metadata)
    size = sum(entry.bytes for entry in data.manifest.files)
    console.print(
        f"[bold]{metadata.name}[/bold]: {metadata.rows_out:,} of {metadata.rows_in:,} rows "
        f"from {_count(len(metadata.inputs), 'file')}, {size / 2**20:,.1f} MiB in {data.directory}",
        highlight=False,
        soft_wrap=True,
    )
    for table in (
        _counts(metadata, tasks),
        _positive_rates(metadata, tasks),
        _vocabularies(metadata),
        _numeric(metadata),
        _dead_letters(metadata),
    ):
        if table.row_count:
            console.print(table)
    for warning in warnings(metadata):
        console.print(f"[yellow]warning:[/yellow] {warning}", highlight=False, soft_wrap=True)


def warnings(metadata: Metadata) -> list[str]:
    """A sentence for every label combination that training will hardly see, and for every split without rows."""
    tasks = _task_names(metadata)
    training = metadata.counts.get(SPLITS[0], {})
    result = []
    for tag in all_tags(len(tasks)):
        rows = training.get(tag, 0)
        if rows < NEARLY_EMPTY_ROWS:
            found = f"has only {_count(rows, 'training row')}" if rows else "has no training row"
            result.append(
                f"the stratum tag={tag} ({', '.join(tasks)}) {found}; below {NEARLY_EMPTY_ROWS} its draws repeat, "
                "and its ranking terms are weak or left out"
            )
    result += [f"the {split} split has no row" for split in SPLITS[1:] if not metadata.counts.get(split)]
    return result


def _task_names(metadata: Metadata) -> list[str]:
    try:
        return [task.name for task in _Config.model_validate(metadata.config).tasks]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("config", *first["loc"]))
        raise CrossDistilError(
            f"{METADATA_FILE} of run {metadata.run} is damaged: {where} {first['msg'].lower()}; make it again"
        ) from error


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position else "left")
    return table


def _counts(metadata: Metadata, tasks: list[str]) -> Table:
    tags = sorted({tag for counts in metadata.counts.values() for tag in counts})
    table = _table(f"rows by split and tag ({', '.join(tasks)})", "split", "rows", *(f"tag={tag}" for tag in tags))
    for split in SPLITS:
        counts = metadata.counts.get(split, {})
        table.add_row(split, f"{sum(counts.values()):,}", *(f"{counts.get(tag, 0):,}" for tag in tags))
    return table


def _positive_rates(metadata: Metadata, tasks: list[str]) -> Table:
    table = _table("positive rates", "split", *tasks)
    for split in SPLITS:
        rates: Mapping[str, float] = metadata.rates[split].positive if split in metadata.rates else {}
        table.add_row(split, *(f"{rates[task]:.2%}" if task in rates else "" for task in tasks))
    return table


def _vocabularies(metadata: Metadata) -> Table:
    table = _table("vocabularies", "feature", "values", "ids")
    for feature, vocabulary in metadata.vocabularies.items():
        table.add_row(feature, f"{vocabulary.size:,}", f"{vocabulary.ids:,}")
    return table


def _numeric(metadata: Metadata) -> Table:
    table = _table("numbers in the training split", "feature", "count", "missing", "mean", "deviation", "minimum", "maximum")
    for feature, statistics in metadata.numeric.items():
        values = (statistics.mean, statistics.deviation, statistics.minimum, statistics.maximum)
        table.add_row(feature, f"{statistics.count:,}", f"{statistics.missing:,}", *(f"{value:.6g}" for value in values))
    return table


def _dead_letters(metadata: Metadata) -> Table:
    table = _table("dead letters", "reason", "rows")
    for reason, rows in metadata.dead_letters.items():
        table.add_row(reason, f"{rows:,}")
    return table
