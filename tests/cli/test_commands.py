# SPDX-License-Identifier: Apache-2.0
"""Every command as a user calls it: what it prints, its exit code, and one sentence for each thing that can be wrong."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from tests.serving.server_process import end_server, start_server
from tf_crossdistil.cli import main as cli
from tf_crossdistil.cli.main import interrupted


@pytest.fixture
def crossdistil(monkeypatch, capsys):
    """Runs the command line in this process; gives exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["crossdistil", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code or 0, captured.out, captured.err

    return run


COMMANDS = [
    *["demo", "generate", "prepare", "inspect", "train", "evaluate", "compare", "tune", "export"],
    *["serve", "predict", "load-test", "skew"],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(crossdistil, command):
    code, out, _ = crossdistil(command, "--help")
    assert code == 0
    assert "Example" in out and f"crossdistil {command}" in out


def test_help_lists_every_command_without_loading_tensorflow():
    script = """import runpy, sys
sys.argv = ["crossdistil", "--help"]
try:
    runpy.run_module("tf_crossdistil.cli.main", run_name="__main__")
except SystemExit:
    print("tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in COMMANDS)
    assert done.stdout.rstrip().endswith("False")


def test_generate_writes_the_rows_it_was_asked_for(crossdistil, tmp_path):
    code, _, err = crossdistil("generate", "--rows", 3000, "--seed", 1, "--out", tmp_path / "logs.parquet", "--truth")
    assert (code, err.split()[:3]) == (0, ["wrote", "3,000", "rows"])
    table = pq.read_table(tmp_path / "logs.parquet")
    assert table.num_rows == 3000
    assert "finish_probability" in table.column_names


def test_the_commands_one_after_another(crossdistil, config_file, raw_rows, tmp_path):
    data, run, model = tmp_path / "data", tmp_path / "run", tmp_path / "models" / "small"
    code, _, err = crossdistil("prepare", config_file, "--input", raw_rows[0], "--output", data)
    assert code == 0, err
    code, out, _ = crossdistil("inspect", data)
    assert code == 0
    assert "train" in out and "user" in out
    code, _, err = crossdistil("train", config_file, "--data", data, "--run", run, "--set", "training.epochs=1")
    assert code == 0, err
    assert "epoch 1/1" in err and "rows/s" in err
    code, _, err = crossdistil("train", config_file, "--data", data, "--run", run, "--resume", "--set", "training.epochs=1")
    assert code == 0, err
    assert "nothing to do: the run ended with epoch 1" in err
    code, out, _ = crossdistil("evaluate", "--run", run, "--data", data, "--split", "test", "--json", tmp_path / "m.json")
    assert code == 0
    assert "Multi-AUC" in out
    metrics = json.loads((tmp_path / "m.json").read_text())
    names = {"auc", "multi_auc", "log_loss", "normalized_entropy", "ece", "calibration_ratio", "gauc"}
    assert set(metrics) == {"split", "rows", "tasks", "teachers"}
    assert set(metrics["tasks"]["finish"]) == set(metrics["teachers"]["like"]) == names | {"rows"}
    code, out, _ = crossdistil("evaluate", "--run", run, "--data", data, "--json", tmp_path / "m.json", "--bootstrap", 20)
    assert code == 0
    with_intervals = json.loads((tmp_path / "m.json").read_text())
    intervals = with_intervals.pop("intervals")
    assert with_intervals == metrics
    assert set(intervals["tasks"]["finish"]) == set(intervals["teachers"]["like"]) == names
    for role in ("tasks", "teachers"):
        low, high = intervals[role]["finish"]["auc"]
        assert low < metrics[role]["finish"]["auc"] < high
    assert f"[{intervals['tasks']['finish']['auc'][0]:.4f}, " in out
    code, _, err = crossdistil("export", "--run", run, "--to", model, "--version", 3)
    assert code == 0
    assert (model / "3" / "saved_model.pb").is_file()

    (sample,) = data.glob("run=*/sample.jsonl")
    server = start_server(model)
    try:
        answers = {}
        for name, address, flags in (("grpc", server.grpc, []), ("rest", server.rest_address, ["--rest"])):
            code, out, err = crossdistil("predict", "--server", address, "--model", "small", "--input", sample, *flags)
            assert code == 0, err
            answers[name] = [json.loads(line) for line in out.splitlines()]
        assert len(answers["grpc"]) == len(sample.read_text().splitlines()) > 100
        for left, right in zip(answers["grpc"], answers["rest"], strict=True):
            assert left == pytest.approx(right, abs=1e-6)
        code, _, err = crossdistil("predict", "--server", server.grpc, "--model", "other", "--input", sample)
        assert code == 1 and "other" in err
    finally:
        end_server(server, signal.SIGTERM)


@pytest.fixture
def unfinished(prepared, tmp_path):
    """A data directory whose run was never finished."""
    shutil.copytree(prepared.directory, tmp_path / "data" / prepared.directory.name)
    (tmp_path / "data" / "LATEST").write_text(prepared.metadata.run)
    (tmp_path / "data" / prepared.directory.name / "_SUCCESS").unlink()
    return tmp_path / "data"


def test_data_without_success_is_no_data(crossdistil, unfinished, config_file, tmp_path):
    for arguments in (("inspect", unfinished), ("train", config_file, "--data", unfinished, "--run", tmp_path / "run")):
        code, _, err = crossdistil(*arguments)
        assert code == 1
        assert "has no _SUCCESS, so no pipeline finished it" in err
    assert not (tmp_path / "run").exists()


def replace(run, name, text):
    """Writes a file of a prepared run, and its size into the manifest."""
    (run / name).write_text(text)
    manifest = json.loads((run / "manifest.json").read_text())
    (entry,) = [entry for entry in manifest["files"] if entry["path"] == name]
    entry["bytes"] = (run / name).stat().st_size
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_a_run_of_another_schema_is_refused(crossdistil, trained, prepared, tmp_path):
    other = tmp_path / "data" / prepared.directory.name
    shutil.copytree(prepared.directory, other)
    metadata = json.loads((other / "metadata.json").read_text())
    for change, words in (
        ({"schema_hash": "0" * 16}, "their tasks or features differ"),
        ({"vocabularies": {**metadata["vocabularies"], "user": {"size": 1, "ids": 7, "sha256": "x"}}}, "vocabulary of 'user'"),
    ):
        replace(other, "metadata.json", json.dumps(metadata | change))
        code, _, err = crossdistil("evaluate", "--run", trained.directory, "--data", other)
        assert code == 1
        assert words in err and err.count("\n") == 1


def test_damaged_metadata_is_told(crossdistil, prepared, tmp_path):
    other = tmp_path / "data" / prepared.directory.name
    shutil.copytree(prepared.directory, other)
    (other / "metadata.json").write_text("{}")
    code, _, err = crossdistil("inspect", other)
    assert code == 1
    assert "metadata.json is damaged: name field required; make it again" in err


def test_a_port_in_use_is_told(crossdistil, exported):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = crossdistil("serve", exported, "--grpc-port", 0, "--rest-port", port)
    assert code == 1
    assert str(port) in err and "--rest-port" in err and err.count("\n") == 1


WRONG = {
    "no such command": (["trian"], 2, "trian"),
    "no such option": (["inspect", "x", "--jsn"], 2, "--jsn"),
    "missing option": (["generate", "--rows", "5"], 2, "--out"),
    "missing configuration": (
        ["train", "none.yaml", "--data", "x", "--run", "y"],
        2,
        "cannot read the configuration none.yaml",
    ),
    "suffix of logs": (["generate", "--rows", "5", "--out", "logs.xls"], 2, "logs.xls"),
    "no data": (["inspect", "none"], 1, "none is no directory; give the --output of `crossdistil prepare`"),
    "empty data": (["inspect", "{tmp}"], 1, "has no LATEST"),
    "no run": (["evaluate", "--run", "{tmp}", "--data", "{data}"], 1, "holds no training run"),
    "split": (["evaluate", "--run", "{tmp}", "--data", "{data}", "--split", "tset"], 2, "received 'tset'"),
    "export of no run": (["export", "--run", "{tmp}", "--to", "{tmp}/m"], 1, "holds no training run"),
    "version": (["export", "--run", "{run}", "--to", "{tmp}/m", "--version", "0"], 2, "--version"),
    "bootstrap": (["evaluate", "--run", "{run}", "--data", "{data}", "--bootstrap", "1"], 2, "--bootstrap"),
    "json": (["evaluate", "--run", "{run}", "--data", "{data}", "--json", "{tmp}/none/m.json"], 2, "give another --json"),
    "no model": (["serve", "{tmp}/none"], 1, "none"),
    "no server": (["predict", "--server", "127.0.0.1:9", "--model", "m", "--input", "{sample}"], 1, "127.0.0.1:9"),
    "address": (["predict", "--server", "here", "--model", "m", "--input", "{sample}"], 2, "HOST:PORT"),
    "request file": (["predict", "--server", "127.0.0.1:9", "--model", "m", "--input", "none.csv"], 1, "none.csv"),
    "demo directory": (["demo", "--out", "{run}"], 2, "holds something that is no demo; give another --out"),
}


@pytest.mark.parametrize("arguments, exit_code, words", WRONG.values(), ids=WRONG)
def test_wrong_use_gets_a_sentence_and_no_traceback(crossdistil, prepared, trained, tmp_path, arguments, exit_code, words):
    names = {"tmp": tmp_path, "data": prepared.directory, "run": trained.directory}
    names["sample"] = prepared.directory / "sample.jsonl"
    code, out, err = crossdistil(*[argument.format(**names) for argument in arguments])
    assert code == exit_code
    assert words in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("seconds", [0.2, pytest.param(1.5, marks=pytest.mark.slow), 4.0])
def test_ctrl_c_at_any_moment_ends_with_a_sentence(tmp_path, seconds):
    command = [sys.executable, "-m", "tf_crossdistil.cli.main", "generate", "--rows", "50000000", "--out", "logs.csv"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "interrupted; later commands will not use what was unfinished\n"
    assert list(tmp_path.iterdir()) == []


def test_damaged_data_is_told_before_work_starts(crossdistil, prepared, config_file, tmp_path):
    other = tmp_path / prepared.directory.name
    shutil.copytree(prepared.directory, other)
    (record_file, *_) = sorted(other.glob("train/*/*.gz"))
    record_file.write_bytes(record_file.read_bytes()[:100])
    code, _, err = crossdistil("train", config_file, "--data", other, "--run", tmp_path / "run")
    assert code == 1
    assert f"{record_file} has 100 bytes, but the manifest says" in err
    record_file.unlink()
    assert "is missing, but the manifest says" in crossdistil("inspect", other)[2]
    assert not (tmp_path / "run").exists()


def test_true_probabilities_must_have_been_prepared(crossdistil, prepared, config_file, tmp_path):
    content = json.loads(config_file.read_text())
    content["tasks"][0]["truth"] = "finish_probability"
    (tmp_path / "truth.yaml").write_text(json.dumps(content))
    code, _, err = crossdistil("train", tmp_path / "truth.yaml", "--data", prepared.directory, "--run", tmp_path / "run")
    assert code == 1
    assert "prepared without the true probabilities of task 'finish'" in err


def test_ctrl_c_that_a_library_swallows_ends_the_process_all_the_same(tmp_path):
    script = """import time
from tf_crossdistil.cli import app, ending, main
ending._GRACE_SECONDS = 0.5
def deaf():
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
app.app = deaf
main.main()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "interrupted\n"


def test_ctrl_c_speaks_of_unfinished_files_only_where_a_command_writes_them():
    told = {
        command: interrupted(["crossdistil", command, "--help"]) for command in ("predict", "inspect", "export", "generate")
    }
    unfinished = "interrupted; later commands will not use what was unfinished"
    assert told == {"predict": "interrupted", "inspect": "interrupted", "export": unfinished, "generate": unfinished}
    assert interrupted(["crossdistil"]) == "interrupted"
