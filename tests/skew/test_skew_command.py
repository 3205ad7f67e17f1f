# SPDX-License-Identifier: Apache-2.0
"""`crossdistil skew` as a user calls it."""

import json
import sys

import pytest

from tests.skew.conftest import json_rows, write_lines
from tf_crossdistil.cli import main as cli


@pytest.fixture
def skew(monkeypatch, capsys, prepared):
    """Runs the command; gives exit code, standard output and standard error."""

    def run(*arguments, data=prepared.directory):
        given = ["--data", data, *arguments] if data else arguments
        monkeypatch.setattr(sys, "argv", ["crossdistil", "skew", *map(str, given)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code or 0, captured.out, captured.err

    return run


def test_what_drifted_is_printed_and_written(skew, training_rows, tmp_path):
    rows = [dict(row, word="", colour="red") for row in training_rows[:500]]
    path = write_lines(tmp_path / "rows.jsonl", json_rows(rows) + b"oops\n")
    code, out, _ = skew("--requests", path, "--json", tmp_path / "skew.json")
    assert code == 0
    lines = out.splitlines()
    assert any(line.startswith("word drifted: PSI ") and "missing: 100.00% of rows" in line for line in lines)
    assert "500 rows in 500 requests" in out and "features: 1 drifted, 0 shifted, 8 stable" in out
    assert "warning: left out 1 of 501 requests, since each is not JSON" in lines
    assert any(line.startswith("warning: requests have features that the data set does not: 'colour'") for line in lines)
    for name in ("user", "author", "duration", "tags"):
        assert any(f"│ {name}" in line for line in lines)
    document = json.loads((tmp_path / "skew.json").read_text())
    assert document["verdict"] == document["features"]["word"]["verdict"] == "drifted"
    assert document["broken"] == {"is not JSON": 1}
    assert document["unknown_features"] == {"colour": 500}


def test_threshold_decides(skew, training_rows, tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", json_rows([dict(row, word="") for row in training_rows[:500]]))
    code, out, _ = skew("--requests", path, "--threshold", "1000")
    assert code == 0 and "features: 0 drifted, 0 shifted, 9 stable" in out


def test_lost_requests_are_told(skew, training_rows, tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", json_rows(training_rows[:200]) + b"oops\n" * 200)
    code, out, _ = skew("--requests", path, "--json", tmp_path / "skew.json")
    assert code == 0 and "warning: left out 200 of 400 requests" in out
    assert "warning: too much is missing to call the requests stable: more than 1% of them was left out" in out
    assert json.loads((tmp_path / "skew.json").read_text())["verdict"] == "incomplete"


def test_few_requests_are_told(skew, training_rows, tmp_path):
    rows = [{name: value for name, value in row.items() if name != "author"} for row in training_rows[:12]]
    _, out, _ = skew("--requests", write_lines(tmp_path / "rows.jsonl", json_rows(rows)))
    assert "warning: too few requests to be sure of" in out
    assert "author drifted: no request has it" in out


def test_wrong_use(skew, tmp_path):
    rows = write_lines(tmp_path / "rows.jsonl", b"")
    for arguments, code, sentence in [
        (["--requests", tmp_path / "none"], 2, "there is no file"),
        (["--requests", rows], 1, "has no request"),
        (["--requests", rows, "--json", tmp_path / "no" / "skew.json"], 2, "does not exist; give another --json"),
    ]:
        found, _, err = skew(*arguments)
        assert found == code and sentence in err and err.count("\n") == 1
    code, _, err = skew("--requests", rows, data=tmp_path)
    assert code == 1 and "no pipeline finished" in err


def test_help_has_an_example(skew):
    code, out, _ = skew("--help", data=None)
    assert code == 0 and "Example" in out and "crossdistil skew" in out
