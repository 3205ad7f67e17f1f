# SPDX-License-Identifier: Apache-2.0
"""Negatives for logs that hold positives only: `python -m pipelines.negatives --help`."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import typer
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from pipelines.checking.columns import Texts, is_readable, is_text
from pipelines.options import DEFAULT_MAX_BAD_FRACTION
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from pipelines.sources.joins import check_matched, unmatched_warnings
from pipelines.sources.whole import Whole, read_whole
from tf_crossdistil.config import Source, duplicates
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.local_files import appears_whole

ROW_GROUP_ROWS = 250_000
_SHOWN_CHARACTERS = 80

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class _Codes:
    """A column of text without nulls: row r holds `values[codes[r]]`; `values` ascend and are distinct."""

    codes: Integers
    values: Any

    @classmethod
    def of(cls, column: Any) -> "_Codes":
        stored = column.dictionary_encode()
        order = pc.sort_indices(stored.dictionary)
        place = np.empty(len(order), np.int64)
        place[order.to_numpy()] = np.arange(len(order))
        return cls(place[stored.indices.to_numpy()], stored.dictionary.take(order))


def draw_items(users: Integers, items: Integers, count: int, per_positive: int, generator: np.random.Generator) -> Integers:
    """Draws items, with replacement, uniform among those that the user of a row has in no row.

    A number r below the count of these items is drawn, and the r-th of them is r plus the number of the user's own items
    h_0 < h_1 < ... with h_j - j <= r.

    Args:
        users: the users' numbers `[rows]`, from 0.
        items: the items' numbers `[rows]`, from 0.
        count: how many items there are.
        per_positive: how many to draw for a row.
        generator: where the numbers come from.

    Returns:
        `[rows, per_positive]`.

    Raises:
        ValueError: a user has every item.
    """
    own_users, own_items = np.divmod(np.unique(users * count + items), count)
    first = np.searchsorted(own_users, np.arange(own_users[-1] + 2))
    if (np.diff(first) == count).any():
        raise ValueError(f"user {int(np.argmax(np.diff(first) == count))} has every item")
    ranks = generator.integers(0, (count - np.diff(first))[users][:, None], (len(users), per_positive))
    skipped = own_users * count + own_items - (np.arange(len(own_users)) - first[own_users])
    return ranks + np.searchsorted(skipped, users[:, None] * count + ranks, side="right") - first[users][:, None]


def with_negatives(
    positives: dict[str, Any], user: str, item: str, time: str | None, label: str, per_positive: int, seed: int
) -> pa.Table:
    """Rows of 1 and, for each, `per_positive` rows of 0 in random order, the same whatever the order of the positives.

    Args:
        positives: `pa.Array` `[rows]` by column; at least one row.
        user: the column of users, written as text.
        item: the column of items, written as text.
        time: the column that a negative has from its positive; all others are null.
        label: the column to add.
        per_positive: how many negatives to draw for a positive.
        seed: the same seed and positives give the same rows in the same order.

    Raises:
        CrossDistilError: a user has every item.
    """
    users, items = (_Codes.of(Texts.of(positives[name]).as_rows()) for name in (user, item))
    rest = [name for name in positives if name not in (user, item)]
    ties = [
        key for name in rest for key in (_Codes.of(_text(positives[name])).codes, positives[name].is_null().to_numpy(False))
    ]
    order = np.lexsort([*ties, items.codes, users.codes])
    user_codes, item_codes = users.codes[order], items.codes[order]
    generator = np.random.default_rng(seed)
    try:
        drawn = draw_items(user_codes, item_codes, len(items.values), per_positive, generator)
    except ValueError as error:
        raise CrossDistilError(
            f"a user has every one of the {len(items.values):,} items, so that there is nothing to draw; leave such users out, "
            "or give more logs"
        ) from error
    rows, negatives = len(order), drawn.size
    shuffled = pa.array(generator.permutation(rows + negatives))
    columns = {
        user: users.values.take(pa.array(np.concatenate([user_codes, user_codes.repeat(per_positive)]))),
        item: items.values.take(pa.array(np.concatenate([item_codes, drawn.ravel()]))),
        label: pa.array(np.repeat(np.array([1, 0], np.int8), [rows, negatives])),
    }
    for name in rest:
        mask = np.repeat([False, name != time], [rows, negatives])
        columns[name] = positives[name].take(pa.array(np.concatenate([order, order.repeat(per_positive)]), mask=mask))
    return pa.table({name: column.take(shuffled) for name, column in columns.items()})


def _text(column: Any) -> Any:
    """A column, also one of lists, as text without nulls in which unlike values differ."""
    if is_text(column.type):
        return column.cast(pa.large_binary()).fill_null(b"")
    return Texts.of(column).as_rows() if is_readable(column.type) else pa.array(map(str, column.to_pylist()), pa.large_string())


def write_negatives(
    inputs: Annotated[list[str], typer.Option("--input", metavar="GLOB", help="Files of positives, or patterns for them.")],
    user: Annotated[str, typer.Option(metavar="COLUMN", help="The column of users.")],
    item: Annotated[str, typer.Option(metavar="COLUMN", help="The column of items.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="A .parquet file.")],
    keep: Annotated[str, typer.Option(metavar="COLUMN,...", help="Further columns; a negative has none of them.")] = "",
    time: Annotated[str | None, typer.Option(metavar="COLUMN", help="A column that a negative has from its positive.")] = None,
    label: Annotated[str, typer.Option(metavar="COLUMN", help="The column to add: 1 for positives, else 0.")] = "click",
    per_positive: Annotated[int, typer.Option(min=1, help="Negatives drawn for each positive.")] = 1,
    max_bad_fraction: Annotated[
        float, typer.Option(min=0, max=1, metavar="FRACTION", help="Share of rows that may be unreadable.")
    ] = DEFAULT_MAX_BAD_FRACTION,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and rows, in any order, give the same file.")] = 0,
    source: Annotated[
        str, typer.Option(metavar="YAML", help="How the logs are written, as the section `source` of a configuration.")
    ] = "{format: jsonl}",
) -> None:
    """Add negatives to logs of positives: items drawn uniformly among all those that a user never had.

    Example: `python -m pipelines.negatives --input reviews_Electronics_5.json.gz --user reviewerID --item asin
    --keep overall --time unixReviewTime --output electronics.parquet`
    """
    columns = [user, item, *([time] if time else []), *(name.strip() for name in keep.split(",") if name.strip())]
    if twice := duplicates([*columns, label]):
        raise UsageError(
            f"the column '{twice[0]}' is named twice among --user, --item, --time, --keep and --label; name each once"
        )
    if output.suffix != ".parquet":
        raise UsageError(f"--output must end in .parquet; received '{output}'")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("reading", total=1.0)
        whole = _read(_parsed(source), inputs, columns, label, lambda share: progress.advance(bar, share))
    warnings = _checked(whole, max_bad_fraction)
    positives = _complete(whole.columns, user, item)
    rows = len(positives[user])
    if not rows:
        raise CrossDistilError(
            f"of {', '.join(inputs)}, no row of the {whole.rows:,} that can be read has both a '{user}' and an '{item}'; give "
            "the columns that hold them"
        )
    if rows < whole.rows:
        warnings.append(f"{whole.rows - rows:,} of {whole.rows:,} rows have no '{user}' or no '{item}' and were left out")
    table = with_negatives(positives, user, item, time, label, per_positive, seed)
    with appears_whole(output) as unfinished:
        pyarrow.parquet.write_table(table, unfinished, row_group_size=ROW_GROUP_ROWS)
    for warning in warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
    console.print(
        f"wrote {rows:,} positives and {rows * per_positive:,} negatives to {output}", highlight=False, soft_wrap=True
    )


def _parsed(source: str) -> Source:
    try:
        return Source.model_validate(yaml.safe_load(source))
    except yaml.YAMLError as error:
        raise UsageError(
            f"--source is not valid YAML: {' '.join(str(error).split())}; write it as the section of a configuration, such as "
            "'{format: csv}'"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise UsageError(f"--source: {where}{first['msg'].removeprefix('Value error, ')}; received {source!r}") from error


def _read(source: Source, inputs: Sequence[str], columns: Sequence[str], label: str, advance: Callable[[float], None]) -> Whole:
    reader = make_reader(source, columns)
    found = find_inputs(reader, inputs)
    planned = plan_ranges(reader, found)
    for info in found:
        if not info.joined and label in planned.extra_columns.get(info.path, []):
            raise UsageError(f"{info.path} has a column '{label}' already; give the one to add another name with --label")
    return read_whole(reader, planned.ranges, advance)


def _checked(whole: Whole, max_bad_fraction: float) -> list[str]:
    """A sentence each of rows that cannot be read and of rows that joined tables lack.

    Raises:
        CrossDistilError: no row is in a joined table, or more rows than that share cannot be read.
    """
    check_matched(whole.unmatched, whole.rows)
    warnings = unmatched_warnings(whole.unmatched, whole.rows)
    if whole.first is None:
        return warnings
    rows = whole.rows + whole.rejected
    share = whole.rejected / rows
    sentence = (
        f"{whole.rejected:,} of {rows:,} rows cannot be read ({share:.2%}, at most {max_bad_fraction:.2%} may be such), the "
        f"first is {whole.first.raw[:_SHOWN_CHARACTERS]!r}: {whole.first.message}"
    )
    if share > max_bad_fraction:
        raise CrossDistilError(f"{sentence}; mend the logs or --source, or raise --max-bad-fraction")
    return [f"{sentence}; they were left out", *warnings]


def _complete(columns: dict[str, Any], user: str, item: str) -> dict[str, Any]:
    """The rows that have a user and an item.

    Raises:
        CrossDistilError: these are lists.
    """
    for name in (user, item):
        if not is_readable(columns[name].type):
            raise CrossDistilError(
                f"column '{name}' must hold one value a row, text or a number; received {columns[name].type}"
            )
    absent = [pc.equal(Texts.of(columns[name]).as_rows(), "") for name in (user, item)]
    chosen = pc.invert(pc.or_(*absent))
    return {name: column.filter(chosen) for name, column in columns.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, 1 for a fault, 2 for wrong use."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.command()(write_negatives)
    try:
        app(argv, prog_name="python -m pipelines.negatives", standalone_mode=True)
    except CrossDistilError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
