# SPDX-License-Identifier: Apache-2.0
"""Reading files of request rows, and asking for their predictions."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from serving.client import PredictionError
from serving.client.batches import BATCH_SIZE
from serving.client.file_predictions import predict_file
from serving.client.request_files import read_rows
from tests.serving.client.hostile_servers import RIGHT, scripted_grpc
from tests.serving.server_process import ROWS, Server
from tf_crossdistil.cli.app import app
from tf_crossdistil.errors import CrossDistilError, UsageError

CSV = "author,duration,note\nann,1.5,\nbob,0,x\nnobody,-3.25,007\n,0.1,\n"


def write(path: Path, text: str) -> Path:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.CSV", "rows.csv.gz", "rows.tsv", "rows.tsv.gz"])
def test_delimited_values_are_text(tmp_path: Path, name: str) -> None:
    text = CSV.replace(",", "\t") if "tsv" in name else CSV
    rows = read_rows(write(tmp_path / name, text))
    assert rows[0] == {"author": "ann", "duration": "1.5", "note": ""}
    assert [row["note"] for row in rows] == ["", "x", "007", ""]
    assert rows[3]["author"] == ""


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    assert read_rows(write(tmp_path / name, '{"a": 1, "b": "x"}\n\n{"a": null}\n')) == [
        {"a": 1, "b": "x"},
        {"a": None, "b": None},
    ]


def test_parquet(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, None], "b": ["x", "y"]}), tmp_path / "rows.parquet")
    assert read_rows(tmp_path / "rows.parquet") == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("rows.jsonl", "", "has no rows"),
        ("rows.csv", "", "is no valid .csv file: Empty CSV file"),
        ("rows.csv", "author,duration\n", "has no rows"),
        ("rows.csv", "author,duration\na\n", "is no valid .csv file"),
        ("rows.csv", "author,author\na,b\n", "has the column 'author' twice"),
        ("rows.jsonl", '{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("rows.jsonl", '{"a": 1}\n\n[1]\n', "line 3 must be a JSON object of features; received [1]"),
        ("rows.parquet", "no parquet", "is no valid .parquet file"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(CrossDistilError) as caught:
        read_rows(write(tmp_path / name, text))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rows.xlsx", "rows", "rows.csv.bz2"])
def test_an_unknown_suffix_is_wrong_use(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"must end in one of .jsonl, .csv, .tsv, .parquet"):
        read_rows(write(tmp_path / name, "x"))


@pytest.mark.parametrize("name", ["rows", "rows.jsonl", "rows.parquet"])
def test_a_directory_is_wrong_use(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=f"{name} is a directory; give the path of a file"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.csv.gz", "rows.parquet"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(CrossDistilError, match=f"cannot read .*{name}: .*; give the path"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.gz"])
def test_a_file_that_is_no_gzip(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"plain")
    with pytest.raises(CrossDistilError, match=name):
        read_rows(tmp_path / name)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(CrossDistilError, match=r"is no valid .jsonl file"):
        read_rows(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
def test_predictions_in_the_order_of_the_file(
    tmp_path: Path, server: Server, rest: bool, expected: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "rows.csv", CSV)
    predictions = list(predict_file(server.rest_address if rest else server.grpc, "ranker", path, rest))
    assert len(predictions) == len(ROWS)
    for index, prediction in enumerate(predictions):
        assert json.loads(json.dumps(prediction)) == pytest.approx({task: p[index] for task, p in expected.items()}, abs=1e-6)
    assert capsys.readouterr().err == "note: ignoring columns that the model 'ranker' does not take: note\n"


def test_a_feature_that_the_file_lacks(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    lacking = write(tmp_path / "lacking.csv", "author\nann\nbob\n")
    empty = write(tmp_path / "empty.csv", "author,duration\nann,\nbob, \n")
    answers = list(predict_file(server.grpc, "ranker", lacking))
    note = f"note: rows 1 to 2 of {lacking} have no duration, which the model 'ranker' takes: missing values\n"
    assert capsys.readouterr().err == note
    assert answers == list(predict_file(server.grpc, "ranker", empty))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_large_files_are_read_as_their_answers_are_taken(tmp_path: Path, name: str) -> None:
    """After the first answer of a long file only its first block has been read and asked."""
    count = 60_000
    numbers = pyarrow.table({"x": pyarrow.array(range(count), pyarrow.float32()), "note": ["some text of a row"] * count})
    if name == "rows.jsonl":
        write(tmp_path / name, "".join(f'{{"x": {number}}}\n' for number in range(count)))
    elif name == "rows.csv":
        pyarrow.csv.write_csv(numbers, tmp_path / name)
    else:
        pyarrow.parquet.write_table(numbers, tmp_path / name, row_group_size=10_000)
    with scripted_grpc(RIGHT) as scripted:
        answers = predict_file(scripted.address, "ranker", tmp_path / name)
        assert next(answers) == {"task": 0.0}
        assert len(scripted.predicts) <= 45_000 / BATCH_SIZE
        assert [answer["task"] for answer in answers] == list(range(1, count))


def test_the_version_that_is_asked(tmp_path: Path, server: Server) -> None:
    path = write(tmp_path / "rows.csv", CSV)
    assert list(predict_file(server.grpc, "ranker", path, version=12)) == list(predict_file(server.grpc, "ranker", path))
    with pytest.raises(PredictionError, match="version 99"):
        list(predict_file(server.grpc, "ranker", path, version=99))
    with pytest.raises(UsageError, match="not both"):
        list(predict_file(server.grpc, "ranker", path, version=1, label="stable"))


def test_the_command(tmp_path: Path, server: Server, expected: dict[str, np.ndarray]) -> None:
    path = write(tmp_path / "rows.csv", CSV)
    command = ["predict", "--server", server.grpc, "--model", "ranker", "--input", str(path), "--timeout", "20"]
    result = CliRunner().invoke(app, [*command, "--version", "12"])
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["like"] for line in lines] == pytest.approx(expected["like"].tolist(), abs=1e-6)
    refused = CliRunner().invoke(app, [*command, "--version", "12", "--label", "stable"])
    assert isinstance(refused.exception, UsageError)


def test_a_parquet_file_whose_text_column_holds_numbers(tmp_path: Path, server: Server) -> None:
    stored, text = tmp_path / "stored.parquet", tmp_path / "text.csv"
    authors = pyarrow.array([0.7, 3.0, None])
    pyarrow.parquet.write_table(pyarrow.table({"author": authors, "duration": [True, False, True]}), stored)
    write(text, "author,duration\n0.7,1\n3,0\n,1\n")
    assert list(predict_file(server.grpc, "ranker", stored)) == list(predict_file(server.grpc, "ranker", text))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "rows.csv",
            "author,duration\na,inf\n",
            "'duration' must be a number within float32's range (at most 3.4e38); row 1 has",
        ),
        (
            "rows.csv",
            "writer,length\na,1\n",
            "has none of the features that the model 'ranker' takes: author, duration; it has wr",
        ),
        ("rows.csv", "author,duration\na,1\nb,x\n", "'duration' must be a number; row 2 has 'x'"),
        ("rows.jsonl", '{"author": "a", "duration": 1}\n{"author": "b", "duration": [1]}\n', "row 2 has [1]"),
        ("rows.jsonl", '{"author": "a"}\n' * 9000 + '{"author": ["b"]}', "row 9001 has ['b']"),
        ("rows.csv", "author,duration\n" + f"{'a' * 100},1\n" * 12_000 + "b,1e39\n", "row 12001 has 1e+39"),
        ("rows.csv", "author,duration\n" + f"{'a' * 100},1\n" * 12_000 + "b,x\n", "row 12001 has 'x'"),
    ],
)
def test_rows_that_do_not_fit_the_model(tmp_path: Path, server: Server, name: str, text: str, told: str) -> None:
    with pytest.raises(CrossDistilError) as caught:
        list(predict_file(server.grpc, "ranker", write(tmp_path / name, text)))
    assert told in str(caught.value)
