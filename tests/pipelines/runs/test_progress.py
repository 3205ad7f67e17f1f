# SPDX-License-Identifier: Apache-2.0
"""What long work shows, from what its workers note."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.encoding.shuffle import SHARD_ROWS
from pipelines.runs import progress
from pipelines.runs.manifest import Run
from pipelines.runs.progress import Counts, Done, RowCounter, shown_progress, time_left
from pipelines.sources.blocks import InputRange

RANGES = [InputRange(0, "a.csv", 0, None, weight=300.0), InputRange(1, "b.csv", 0, None, weight=100.0)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    Run(tmp_path, "0").begin()
    return tmp_path / "run=0"


def test_the_share_done_goes_by_weight(run: Path) -> None:
    counts = Counts(run, RANGES)
    assert counts.read("survey") == Done(0, 0.0)
    large, small = RowCounter(run, "survey", 0), RowCounter(run, "survey", 1)
    large.add(100, 0.25)
    large.add(100, 0.5)
    small.add(10, 0.99999)
    assert counts.read("survey") == Done(210, 0.5 * 0.75 + 0.9999 * 0.25)
    small.finish()
    assert counts.read("survey") == Done(210, 0.625)
    assert counts.read("encode") == Done(0, 0.0)
    large.add(100, 1.0)
    assert counts.read("survey").share < 1, "a range may go on though its reader takes it for read"
    large.finish()
    assert counts.read("survey") == counts.read("survey") == Done(310, 1.0)


def test_a_shuffle_is_one_more_step(run: Path) -> None:
    for part in RANGES:
        counter = RowCounter(run, "encode", part.index)
        counter.add(SHARD_ROWS)
        counter.finish()
    shard = RowCounter(run, "shuffle", 1)
    shard.add(SHARD_ROWS - 7)
    assert Counts(run, RANGES).read_all(shuffles=True)["shuffle"] == Done(SHARD_ROWS - 7, 0.0)
    shard.finish()
    assert Counts(run, RANGES).read_all(shuffles=True) == {
        "survey": Done(0, 0.0),
        "encode": Done(2 * SHARD_ROWS, 1.0),
        "shuffle": Done(SHARD_ROWS - 7, 0.5),
    }
    assert list(Counts(run, RANGES).read_all(shuffles=False)) == ["survey", "encode"]


@pytest.mark.parametrize("content", ["", "12", "12 x"])
def test_a_note_that_is_being_written_counts_nothing(run: Path, content: str) -> None:
    (run / "work" / "survey-00000.rows").write_text(content)
    assert Counts(run, RANGES).read("survey") == Done(0, 0.0)


def test_time_left() -> None:
    assert time_left(0.25, 60) == "0:03:00 left"
    assert time_left(1.0, 60) == "0:00:00 left"
    assert time_left(0.001, 60) == ""


def show(run: Path, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with shown_progress(run, RANGES, console):
        for step in ("survey", "encode"):
            for part in RANGES:
                counter = RowCounter(run, step, part.index)
                for done in (0.5, 1.0):
                    counter.add(1000, done)
                    time.sleep(0.05)
                counter.finish()
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_lines_where_there_is_no_terminal(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.02)
    lines = show(run, terminal=False).splitlines()
    # Nobody knows how much time is left before the first rows, which a busy machine may take a while for.
    begun = [line for line in lines[1:] if ": 0 rows" not in line]
    assert len(begun) >= 7 and all(line.endswith(" left") and " rows/s, 0:00:0" in line for line in begun)
    assert begun[0].startswith(("reading the logs: 1,000 rows", "reading the logs: 2,000 rows"))
    assert lines[-1].startswith("writing records: 4,000 rows, ")


def test_bars_on_a_terminal(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_TERMINAL_SECONDS", 0.02)
    shown = show(run, terminal=True)
    assert "reading the logs" in shown and "writing records" in shown
    assert "4,000 rows" in shown and "rows/s" in shown and "left" in shown


def test_nothing_where_it_is_to_be_quiet(run: Path) -> None:
    with shown_progress(run, RANGES, Console(quiet=True)):
        pass
