# SPDX-License-Identifier: Apache-2.0
"""The results as a table with notes."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from serving.load_test.level import Level

# Two lines where it needs them, so that eighty columns are enough.
_HEADINGS = (
    *("Concur-\nrency", "Requests", "Errors"),
    *(f"{name}\nms" for name in ("p50", "p90", "p99", "max")),
    *("Requests\nper s", "Rows\nper s", "Client\nCPU"),
)
_NO_VALUE = "-"


def levels_table(levels: Sequence[Level], caption: str | None = None) -> Table:
    """A row for each level of concurrency."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, caption=caption, caption_justify="left")
    for heading in _HEADINGS:
        # Never an ellipsis in place of digits.
        table.add_column(heading, justify="right", overflow="fold")
    for level in levels:
        latency = level.latency
        table.add_row(
            str(level.concurrency),
            f"{level.requests:,}",
            Text(f"{level.failed:,}", style="bold red" if level.failed else ""),
            *(map(_short, (latency.p50, latency.p90, latency.p99, latency.max)) if latency else [_NO_VALUE] * 4),
            _short(level.requests_per_second),
            f"{level.rows_per_second:,.0f}",
            Text(f"{level.client_cpu:.0%}", style="yellow" if level.client_is_the_limit else ""),
        )
    return table


def notes(levels: Sequence[Level]) -> list[str]:
    """What a reader of the table must know: a sentence for each level with errors, and where the client was the limit."""
    sentences = [
        f"concurrency {level.concurrency}: {level.failed:,} of {level.requests:,} requests failed ({_kinds(level)})"
        f"{_end(level)}; the first: {level.first_error}"
        for level in levels
        if level.failed
    ]
    if limited := [str(level.concurrency) for level in levels if level.client_is_the_limit]:
        sentences.append(
            f"the load generator, which has one thread, was itself the limit at concurrency {', '.join(limited)}: the server "
            "may bear more, and latencies hold the client's own waiting; run several load tests at once and add up their "
            "throughput"
        )
    return sentences


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _end(level: Level) -> str:
    return "" if level.latency else ", with which the test ended"


def _kinds(level: Level) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in level.errors.items())
