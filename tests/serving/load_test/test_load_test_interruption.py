# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in a load test, whenever it comes: what was measured is shown and written."""

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys

import pytest

from serving.load_test.interruption import Interruption
from tests.serving.load_test.rest_server import GOOD, rest_options, rest_server
from tests.serving.server_process import ROOT
from tf_crossdistil.cli import main as cli


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_shows_what_there_is(tmp_path):
    """As often as it comes."""
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
        levels = ["--concurrency", "1,2", "--seconds", "0.1", "--timeout", "100"]
        options = map(str, [*rest_options(address, tmp_path), *levels])
        command = [sys.executable, "-m", "tf_crossdistil.cli.main", "load-test", *options]
        processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        out, err = processes[0].communicate(timeout=60)
    assert (processes[0].returncode, err) == (130, "interrupted; what is shown was measured until then\n")
    written = json.loads((tmp_path / "l.json").read_text())
    # The second level's two requests meet at the server in its warm-up, or soon after.
    shown = [level["concurrency"] for level in written["levels"]]
    assert written["interrupted"] and shown in ([1], [1, 2])
    assert [int(line.split()[0]) for line in out.splitlines() if line.strip()[:1].isdigit()] == shown


@pytest.mark.parametrize("moment", ["serving.load_test.table.levels_table", "serving.load_test.results_file.save_json"])
def test_ctrl_c_while_results_are_told_changes_nothing(monkeypatch, capsys, tmp_path, moment):
    async def answer(number):
        await asyncio.sleep(0.002)
        return GOOD

    module, _, name = moment.rpartition(".")
    told = getattr(importlib.import_module(module), name)

    def interrupted(*arguments):
        # The table is drawn while levels are measured, too; then nothing follows it.
        if len(arguments) != 2 or name == "save_json":
            interrupt()
        return told(*arguments)

    heard = []
    monkeypatch.setattr(cli, "_interrupt", lambda number, frame: heard.append(number))
    monkeypatch.setattr(moment, interrupted)
    usual = signal.getsignal(signal.SIGINT)
    with rest_server(answer) as address:
        options = map(str, [*rest_options(address, tmp_path), "--concurrency", "1", "--seconds", "0.1"])
        monkeypatch.setattr(sys, "argv", ["crossdistil", "load-test", *options])
        with pytest.raises(SystemExit) as exited:
            cli.main()
    captured = capsys.readouterr()
    assert (exited.value.code or 0, captured.err, heard) == (0, "", [])
    (level,) = json.loads((tmp_path / "l.json").read_text())["levels"]
    assert f"{level['requests']:,}" in captured.out
    assert signal.getsignal(signal.SIGINT) is usual


def test_ctrl_c_before_and_after_has_its_usual_effect():
    heard = []

    async def work():
        interruption.cancels(asyncio.create_task(asyncio.sleep(0)))

    previous = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with Interruption() as interruption:
            interrupt()
            assert len(heard) == 1
            asyncio.run(work())
            interrupt()
            assert len(heard) == 1
        interrupt()
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGINT, previous)
