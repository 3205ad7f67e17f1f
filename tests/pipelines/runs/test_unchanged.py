# SPDX-License-Identifier: Apache-2.0
"""Inputs that change while they are read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.pipeline import run_pipeline
from pipelines.preprocess import prepare
from pipelines.runs.unchanged import check_unchanged
from pipelines.sources.blocks import InputRange
from pipelines.sources.csv_source import CsvReader
from pipelines.sources.inputs import InputInfo
from tests.pipelines.good_logs import GOOD
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError


def _rewrite(logs: Path) -> None:
    logs.write_text(GOOD.replace("u1,", "u2,"))


@pytest.mark.parametrize(
    "change, says",
    [
        (_rewrite, "changed from 1,567 bytes of .* to 1,567 bytes"),
        (lambda logs: os.utime(logs, (1e9, 1e9)), "to 1,567 bytes of 2001-09-09 01:46:40"),
        (Path.unlink, "was removed while it was read"),
    ],
    ids=["as many rows", "the time alone", "removed"],
)
def test_logs_that_change_while_they_are_read_are_not_published(
    experiment: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    says: str,
) -> None:
    logs, other = tmp_path / "logs-1.csv", tmp_path / "logs-2.csv"
    logs.write_text(GOOD)
    other.write_text(GOOD)

    def run_and_change(*arguments: Any) -> None:
        run_pipeline(*arguments)
        change(logs)

    monkeypatch.setattr("pipelines.preprocess.run_pipeline", run_and_change)
    with pytest.raises(CrossDistilError, match=f"logs-1.csv .*{says}"):
        prepare(experiment(), [f"{tmp_path}/logs-*.csv"], tmp_path / "output", quiet=True)
    assert not list((tmp_path / "output").iterdir())


def test_logs_that_come_while_others_are_read_are_for_the_next_run(
    experiment: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs-1.csv").write_text(GOOD)

    def run_and_add(*arguments: Any) -> None:
        run_pipeline(*arguments)
        (tmp_path / "logs-2.csv").write_text(GOOD)

    monkeypatch.setattr("pipelines.preprocess.run_pipeline", run_and_add)
    data = prepare(experiment(), [f"{tmp_path}/logs-*.csv"], tmp_path / "output", quiet=True)
    assert [Path(file.path).name for file in data.metadata.inputs] == ["logs-1.csv"]


def test_a_table_may_change_since_its_streams_do_not(experiment: Callable[..., Experiment]) -> None:
    class Table(CsvReader):
        def find(self, pattern: str) -> list[InputInfo]:
            raise AssertionError("a table that rows are streamed into has always just changed")

    reader = Table(experiment().source, [])
    stream = InputRange(0, "a.b.c", 0, None, stream="streams/1")
    check_unchanged(reader, ["a.b.c"], [InputInfo("a.b.c", 10, 1.0)], [stream])
