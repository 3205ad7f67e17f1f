# SPDX-License-Identifier: Apache-2.0
"""`crossdistil load-test` as a user calls it: against the local server, against faulty ones, and used wrongly."""

import asyncio
import json
import socket
import subprocess
import sys

import pytest

from tests.serving.load_test.rest_server import GOOD, rest_options, rest_server
from tests.serving.server_process import ROOT, ROWS
from tf_crossdistil.cli import main as cli


@pytest.fixture
def load_test(monkeypatch, capsys):
    """Runs the command in this process; gives exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["crossdistil", "load-test", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def address_of(server, rest):
    return ("--server", server.rest_address, "--rest") if rest else ("--server", server.grpc)


@pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
def test_rising_concurrency_against_the_local_server(load_test, server, rows_file, tmp_path, rest):
    plot, document = tmp_path / "load.png", tmp_path / "load.json"
    address = address_of(server, rest)
    code, out, err = load_test(
        *address, "--model", "ranker", "--input", rows_file, "--rows", 8, "--concurrency", "1,2", "--seconds", 0.3,
        "--plot", plot, "--json", document,
    )  # fmt: skip
    assert (code, err) == (0, "")
    written = json.loads(document.read_text())
    assert (written["server"], written["protocol"]) == (address[1], "REST" if rest else "gRPC")
    shown = [line.split() for line in out.splitlines() if line.split()[:1] in (["1"], ["2"])]
    for line, level, concurrency in zip(shown, written["levels"], (1, 2), strict=True):
        assert level["concurrency"] == concurrency
        assert level["errors"] == {} and level["first_error"] is None
        assert 0.3 <= level["requests"] / level["requests_per_second"] < 3
        assert level["rows_per_second"] == pytest.approx(8 * level["requests_per_second"])
        latency = level["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"] < 3000
        assert line[:3] == [str(concurrency), f"{level['requests']:,}", "0"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_errors_of_a_failing_server_are_counted(load_test, tmp_path):
    sent = []

    async def answer(number):
        kind = ("good", "overloaded", "broken", "good")[number % 4]
        sent.append(kind)
        await asyncio.sleep(0.002)
        return {"good": GOOD, "overloaded": (503, {"error": "too much"}), "broken": (500, {"error": "out of order"})}[kind]

    with rest_server(answer) as address:
        code, out, err = load_test(*rest_options(address, tmp_path), "--concurrency", 4, "--seconds", 0.3)
    (level,) = json.loads((tmp_path / "l.json").read_text())["levels"]
    assert (code, err) == (0, "")
    assert set(level["errors"]) == {"UNAVAILABLE", "INTERNAL"}
    # Callers take their turn one after another, but for the few requests of the warm-up that were under way when it ended.
    for kind, code_name in (("overloaded", "UNAVAILABLE"), ("broken", "INTERNAL")):
        assert level["errors"][code_name] == pytest.approx(level["requests"] / 4, abs=2)
        assert level["errors"][code_name] < sent.count(kind)
    failed = sum(level["errors"].values())
    assert f"concurrency 4: {failed:,} of {level['requests']:,} requests failed" in out
    assert level["first_error"] in out


def test_late_answers_are_errors(load_test, tmp_path):
    async def answer(number):
        await asyncio.sleep(5 if number % 3 == 2 else 0)
        return GOOD

    with rest_server(answer) as address:
        options = rest_options(address, tmp_path)
        code, out, _ = load_test(*options, "--concurrency", 1, "--seconds", 0.5, "--timeout", 0.2)
    (level,) = json.loads((tmp_path / "l.json").read_text())["levels"]
    assert code == 0
    assert list(level["errors"]) == ["DEADLINE_EXCEEDED"]
    assert level["errors"]["DEADLINE_EXCEEDED"] >= 1 and level["latency_ms"]["max"] <= 200
    assert "did not answer within 0.2 s" in out


@pytest.mark.parametrize(
    ("answered", "kind", "told"),
    [
        ((400, {"error": "wrong input"}), "INVALID_ARGUMENT", "wrong input"),
        ((200, {"outputs": [0.5] * 3}), None, "expected 4 answers for task 'like'"),
        (None, "UNAVAILABLE", "answer"),
    ],
    ids=["refused", "short", "broken off"],
)
def test_when_nothing_succeeds(load_test, tmp_path, answered, kind, told):
    async def answer(number):
        await asyncio.sleep(0.01)
        return answered

    with rest_server(answer) as address:
        options = rest_options(address, tmp_path)
        code, out, err = load_test(*options, "--concurrency", "2,4", "--seconds", 0.1, "--plot", tmp_path / "load.png")
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
    (level, *more) = json.loads((tmp_path / "l.json").read_text())["levels"]
    assert level["concurrency"] == 2
    if kind is None:
        # Only one answer in 16 is looked into.
        assert code == 0 and level["errors"]["INTERNAL"] >= 2 and told in out
    else:
        assert not more
        assert code == 1 and err.startswith("error: no request succeeded; the first failed so: ") and told in err
        assert level["errors"] == {kind: level["requests"]} and "Traceback" not in err


def test_a_server_that_is_down(load_test, rows_file):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    for rest in ([], ["--rest"]):
        code, out, err = load_test("--server", address, "--model", "m", "--input", rows_file, *rest)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: no server answers at {address}") and err.count("\n") == 1


def test_a_model_that_is_not_there(load_test, server, rows_file):
    for rest in (False, True):
        code, out, err = load_test(*address_of(server, rest), "--model", "other", "--input", rows_file)
        assert (code, out) == (1, "")
        assert "does not serve the model 'other'" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "expected_code", "told"),
    [
        ("rows.jsonl", None, 1, "cannot read"),
        ("rows.xlsx", "", 2, "must end in one of"),
        ("rows.jsonl", '{"autor": "ann"}\n', 1, "author"),
        ("rows.csv", "author,duration\nann,long\n", 1, "'duration' must be a number; row 1 has 'long'"),
    ],
)
def test_wrong_files(load_test, server, tmp_path, name, content, expected_code, told):
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    code, out, err = load_test("--server", server.grpc, "--model", "ranker", "--input", path, "--seconds", 0.1)
    assert (code, out) == (expected_code, "")
    assert told in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--concurrency", "1,two"], "--concurrency needs whole numbers divided by commas, such as 1,2,4,8; received '1,two'"),
        (["--concurrency", ""], "--concurrency needs whole numbers"),
        (["--concurrency", "4,2"], "rising whole numbers from 1 to 1024, such as 1,2,4,8; received 4,2"),
        (["--concurrency", "9" * 5000], "--concurrency needs whole numbers"),
        (["--plot", "load.bmp"], "load.bmp must end in one of .png, .svg, .pdf"),
        (["--plot", "nowhere/load.png"], "give another --plot"),
        (["--json", "."], "give another --json"),
        (["--rows", "0"], "'--rows'"),
        (["--seconds", "0"], "'--seconds'"),
        (["--seconds", "nan"], "'--seconds'"),
        (["--timeout", "-1"], "'--timeout'"),
        (["--server", "localhost"], "HOST:PORT"),
    ],
)
def test_wrong_use(load_test, rows_file, options, told):
    code, out, err = load_test("--server", "127.0.0.1:1", "--model", "m", "--input", rows_file, *options)
    assert (code, out) == (2, "")
    assert told in " ".join(err.replace("│", " ").split())


def test_help_has_an_example_and_says_how_to_read_the_numbers(load_test):
    code, out, _ = load_test("--help")
    assert code == 0
    for word in ("crossdistil load-test", "coordinated omission", "exit code", "Ctrl-C"):
        assert word in " ".join(out.replace("│", " ").split())


def test_the_command_loads_no_tensorflow():
    program = (
        "import sys, tf_crossdistil.cli.load_test_command, serving.load_test.against_server; print('tensorflow' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
