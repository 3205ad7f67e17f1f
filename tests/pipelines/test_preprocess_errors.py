# SPDX-License-Identifier: Apache-2.0
"""Wrong use and bad input: one sentence, an exit code, and nothing that a reader would open."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.preprocess import main
from tests.pipelines.good_logs import GOOD

ONE_TASK = {"tasks": [{"name": "finish", "column": "finish"}]}


@dataclass
class Case:
    """Logs or arguments that cannot be, and what the sentence must name."""

    content: str | bytes
    says: list[str]
    config: dict | None = None
    arguments: tuple[str, ...] = ()
    exit_code: int = 1


CASES = {
    "empty file": Case("", ["logs.csv is empty"]),
    "empty gzip": Case(gzip.compress(b""), ["logs.csv is empty"]),
    "header only": Case("user,finish,like\n", ["no row"]),
    "wrong delimiter": Case(GOOD.replace(",", ";"), ["single column 'user;finish;like'", "is the delimiter ',' right?"]),
    "missing column": Case(
        GOOD.replace("finish", "finnish", 1), ["no column 'finish'", "'user', 'finnish', 'like'", "did you mean 'finnish'?"]
    ),
    "column twice": Case(GOOD.replace("like", "finish", 1), ["two columns named 'finish'"], ONE_TASK),
    "another number of columns": Case(
        GOOD,
        ["3 fields in its first row", "the 2 of source.columns"],
        {"source": {"header": False, "columns": ["user", "finish"]}, "tasks": [{"name": "finish", "column": "finish"}]},
    ),
    "label neither 0 nor 1": Case(
        GOOD + "u1,7,0\n" * 10,
        ["10 of 210 rows are bad (4.76%, at most 1.00%", "label_not_binary 10", "row 201 of", "'finish'", "'7'"],
    ),
    "number that does not parse": Case(
        "age," + GOOD.replace("\nu", "\n2,u").replace("\n2,u1,", "\nold,u1,"),
        ["not_a_number 5", "'age'", "'old'"],
        {"features": [{"name": "age", "kind": "numeric"}]},
    ),
    "task without positives": Case(GOOD.replace("1\n", "0\n"), ["task 'like' has no positive row"]),
    "task without negatives": Case(GOOD.replace(",0,", ",1,"), ["task 'finish' has no negative row"]),
    "no training rows": Case(
        GOOD, ["no good row belongs to the training split"], {"split": {"by": "time", "column": "like", "boundaries": [-2, -1]}}
    ),
    "truncated gzip": Case(gzip.compress(GOOD.encode())[:-30], ["truncated gzip"]),
    "not a parquet file": Case(GOOD, ["is not a Parquet file"], {"source": {"format": "parquet"}}),
    "bad fraction out of range": Case(GOOD, ["between 0 and 1"], arguments=("--max-bad-fraction", "2"), exit_code=2),
    "bad fraction no number": Case(GOOD, ["invalid float"], arguments=("--max-bad-fraction", "few"), exit_code=2),
    "Dask": Case(GOOD, ["DaskRunner", "data would be lost"], arguments=("--runner", "DaskRunner"), exit_code=2),
    "unknown runner": Case(GOOD, ["--runner Foo", "FnApiRunner, "], arguments=("--runner", "Foo"), exit_code=2),
    "runner of no module": Case(GOOD, ["--runner foo.Bar"], arguments=("--runner", "foo.Bar"), exit_code=2),
    "runner of no class": Case(GOOD, ["--runner json.Bar"], arguments=("--runner", "json.Bar"), exit_code=2),
    "runner without its options": Case(
        GOOD,
        ["the runner KafkaStreamsRunner failed: ", "--kafka_streams_job_server_jar"],
        arguments=("--runner", "KafkaStreamsRunner"),
    ),
    "unknown option": Case(GOOD, ["did you mean --direct_num_workers?"], arguments=("--direct_num_worker=2",), exit_code=2),
    "value of a Beam option": Case(
        GOOD, ["--direct_num_workers", "'two'"], arguments=("--direct_num_workers=two",), exit_code=2
    ),
    "drift bound out of range": Case(
        GOOD, ["--drift-bound", "between 0 and 1"], arguments=("--drift-bound=-0.1",), exit_code=2
    ),
    "bad fraction that is none": Case(
        GOOD, ["between 0 and 1; received nan"], arguments=("--max-bad-fraction=nan",), exit_code=2
    ),
    "vocabulary of no run": Case(
        GOOD,
        ["--vocabulary-from nowhere cannot be used", "no directory"],
        arguments=("--vocabulary-from=nowhere",),
        exit_code=2,
    ),
    "output of an unknown kind": Case(
        GOOD, ["no file system is installed for nowhere://x"], arguments=("--output=nowhere://x",), exit_code=2
    ),
    "two configurations": Case(GOOD, ["there must be one CONFIG"], arguments=("--config=other.yaml",), exit_code=2),
    "unknown key": Case(GOOD, ["did you mean 'split'?"], {"splits": {}}, exit_code=2),
}


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_and_nothing_published(
    name: str, tmp_path: Path, write_config: Callable[[dict | None], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    logs, output = tmp_path / "logs.csv", tmp_path / "output"
    logs.write_bytes(case.content.encode() if isinstance(case.content, str) else case.content)
    output.mkdir()
    (output / "LATEST").write_text("earlier\n")
    code = main([str(write_config(case.config)), "--input", str(logs), "--output", str(output), *case.arguments])
    printed = capfd.readouterr().err.strip().splitlines()
    assert code == case.exit_code
    assert len(printed) == 1 and printed[0].startswith("error: "), printed
    for words in case.says:
        assert words in printed[0]
    assert [path.name for path in output.iterdir()] == ["LATEST"]
    assert (output / "LATEST").read_text() == "earlier\n"


@pytest.mark.parametrize("mode", ["in_memory", pytest.param("multi_threading", marks=pytest.mark.slow)])
def test_a_terminal_shows_one_sentence_of_a_worker(
    tmp_path: Path, write_config: Callable[[dict | None], Path], mode: str
) -> None:
    (tmp_path / "logs.gz").write_bytes(gzip.compress(GOOD.encode())[:-30])
    command = [sys.executable, "-m", "pipelines.preprocess", str(write_config(None)), "--input", f"{tmp_path}/logs.gz"]
    command += ["--output", f"{tmp_path}/output", f"--direct_running_mode={mode}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, len(finished.stderr.splitlines())) == (1, "", 1), finished.stderr
    assert "truncated gzip" in finished.stderr
    assert not list(tmp_path.glob("output/*"))


def test_no_file_matches(
    tmp_path: Path, write_config: Callable[[dict | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(write_config(None)), "--input", f"{tmp_path}/none*.csv", "--output", str(tmp_path)]) == 1
    assert "no file matches --input" in capsys.readouterr().err


def test_unwritable_output(
    tmp_path: Path, write_config: Callable[[dict | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs.csv").write_text(GOOD)
    (tmp_path / "file").write_text("in the way")
    assert main([str(write_config(None)), "--input", f"{tmp_path}/logs.csv", "--output", f"{tmp_path}/file/below"]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_list_where_one_value_is_expected(
    tmp_path: Path, write_config: Callable[[dict | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"user": [["u"]], "finish": [1], "like": [0]}), tmp_path / "logs.parquet")
    config = write_config({"source": {"format": "parquet"}})
    assert main([str(config), "--input", f"{tmp_path}/logs.parquet", "--output", f"{tmp_path}/output"]) == 1
    assert "wrong_type 1" in (error := capsys.readouterr().err) and "column 'user' must hold one value" in error


def test_lost_rows_are_an_error(
    tmp_path: Path,
    write_config: Callable[[dict | None], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A runner that encodes nothing and reports success publishes nothing."""
    (tmp_path / "logs.csv").write_text(GOOD)
    monkeypatch.setattr("pipelines.graph.encode.EncodeRange.process", lambda *_: iter(()))
    assert main([str(write_config(None)), "--input", f"{tmp_path}/logs.csv", "--output", f"{tmp_path}/output"]) == 1
    assert "encoded 0 of 1 ranges" in capsys.readouterr().err
    assert not list((tmp_path / "output").glob("run=*"))


@pytest.mark.parametrize(
    "fails, says",
    [
        ("pipelines.graph.survey.SurveyRange._survey", "a worker failed while reading "),
        ("pipelines.graph.survey.SurveyRange.process", "the runner FnApiRunner failed: invalid literal for int()"),
    ],
)
def test_a_step_that_fails_is_one_sentence(
    fails: str,
    says: str,
    tmp_path: Path,
    write_config: Callable[[dict | None], Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "logs.csv").write_text(GOOD)
    monkeypatch.setattr(fails, lambda *_: int("x"))
    assert main([str(write_config(None)), "--input", f"{tmp_path}/logs.csv", "--output", f"{tmp_path}/output"]) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"error: {says}") and "invalid literal for int() with base 10: 'x'" in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "output").iterdir())
