"""`crossdistil load-test` as a user calls it: against the local server, against faulty ones, and used wrongly."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

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


REST_METADATA = {
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {
                    "inputs": {"author": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}}},
                    "outputs": {"like": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}},
                }
            }
        }
    }
}


@contextmanager
def rest_server(answer):
    """A REST server whose answer to the n-th prediction, status and body, is `await answer(n)`; None breaks the connection."""
    numbers = iter(range(1_000_000))
    ready: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = []
    started = threading.Event()

    async def handle(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
                )
                await reader.readexactly(int(length))
                answered = (200, REST_METADATA) if head.startswith(b"GET") else await answer(next(numbers))
                if answered is None:
                    return
                body = json.dumps(answered[1]).encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (answered[0], len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve():
        end = asyncio.Event()
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        ready.append((asyncio.get_running_loop(), end, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        started.set()
        await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    loop, end, address = ready[0]
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


GOOD = (200, {"outputs": [0.5] * 4})


@pytest.fixture
def authors_file(tmp_path):
    path = tmp_path / "authors.csv"
    path.write_text("author\nann\nbob\n", encoding="utf-8")
    return path


def rest_options(address, authors_file, tmp_path):
    return ("--server", address, "--rest", "--model", "m", "--input", authors_file, "--rows", 4, "--json", tmp_path / "l.json")


def test_errors_of_a_failing_server_are_counted(load_test, authors_file, tmp_path):
    sent = []

    async def answer(number):
        kind = ("good", "overloaded", "broken", "good")[number % 4]
        sent.append(kind)
        await asyncio.sleep(0.002)
        return {"good": GOOD, "overloaded": (503, {"error": "too much"}), "broken": (500, {"error": "out of order"})}[kind]

    with rest_server(answer) as address:
        code, out, err = load_test(*rest_options(address, authors_file, tmp_path), "--concurrency", 4, "--seconds", 0.3)
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


def test_late_answers_are_errors(load_test, authors_file, tmp_path):
    async def answer(number):
        await asyncio.sleep(5 if number % 3 == 2 else 0)
        return GOOD

    with rest_server(answer) as address:
        options = rest_options(address, authors_file, tmp_path)
        code, out, _ = load_test(*options, "--concurrency", 1, "--seconds", 0.5, "--timeout", 0.2)
    (level,) = json.loads((tmp_path / "l.json").read_text())["levels"]
    assert code == 0
    assert list(level["errors"]) == ["DEADLINE_EXCEEDED"]
    assert level["errors"]["DEADLINE_EXCEEDED"] >= 1 and level["latency_ms"]["max"] < 400
    assert "did not answer within 0.2 s" in out


@pytest.mark.parametrize(
    ("answered", "kind", "told"),
    [
        ((400, {"error": "wrong input"}), "INVALID_ARGUMENT", "wrong input"),
        ((200, {"outputs": [0.5] * 3}), None, "expected 4 probabilities of task 'like'"),
        (None, "UNAVAILABLE", "answer"),
    ],
    ids=["refused", "short", "broken off"],
)
def test_when_nothing_succeeds(load_test, authors_file, tmp_path, answered, kind, told):
    async def answer(number):
        await asyncio.sleep(0.01)
        return answered

    with rest_server(answer) as address:
        options = rest_options(address, authors_file, tmp_path)
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


def test_ctrl_c_shows_what_there_is(authors_file, tmp_path):
    under_way = 0
    processes: list[subprocess.Popen[str]] = []

    async def answer(number):
        nonlocal under_way
        under_way += 1
        if under_way == 2:
            # The second level has begun.
            processes[0].send_signal(signal.SIGINT)
        await asyncio.sleep(0.002 if under_way < 2 else 60)
        under_way -= 1
        return GOOD

    with rest_server(answer) as address:
        options = [
            *rest_options(address, authors_file, tmp_path),
            "--concurrency",
            "1,2",
            "--seconds",
            "0.1",
            "--timeout",
            "100",
        ]
        command = [sys.executable, "-m", "tf_crossdistil.cli.main", "load-test", *map(str, options)]
        processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        out, err = processes[0].communicate(timeout=60)
    assert (processes[0].returncode, err) == (130, "interrupted; what is shown was measured until then\n")
    written = json.loads((tmp_path / "l.json").read_text())
    # The second level's two requests meet at the server in its warm-up, or soon after.
    levels = [level["concurrency"] for level in written["levels"]]
    assert written["interrupted"] and levels in ([1], [1, 2])
    assert [int(line.split()[0]) for line in out.splitlines() if line.strip()[:1].isdigit()] == levels


def test_the_command_loads_no_tensorflow():
    program = (
        "import sys, tf_crossdistil.cli.load_test_command, serving.load_test.against_server, serving.load_test.plot; "
        "print('tensorflow' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
