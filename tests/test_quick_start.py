# SPDX-License-Identifier: Apache-2.0
"""docs/quick-start.md: the walk as a reader takes it, block by block, and what its commands print."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from pipelines.inspection import show_prepared
from pipelines.preprocess import prepare
from tests.pages import ROOT, Block, blocks
from tf_crossdistil.config_file import load_config, parse_config

BLOCKS = list(blocks(ROOT / "docs" / "quick-start.md"))
RUN = "<!-- run by tests/test_quick_start.py -->"
CONFIGURATION = "".join(block.text for block in BLOCKS if block.language == "yaml")
STEPS = [block for block in BLOCKS if block.before == RUN]
README = [block for block in blocks(ROOT / "README.md") if block.before == RUN]
# The walk runs its steps; README's lines are held to be the same.
RUNS = STEPS + README
# Counts must be right; what training gives differs a little between processors.
CLOSE = 0.03
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-\d+)?%?")
_VARYING = [
    (re.compile(r"\brun=[0-9a-f]+"), "run=ID"),
    (re.compile(r"[\d,.]+ rows/s"), "SPEED"),
    (re.compile(r"^[\d.]+ s, "), ""),
    (re.compile(r"[\d,]+ bytes"), "SIZE"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"to \d\.\de-\d\d$"), "PRECISION"),
]


def shown_after(step: Block) -> str:
    """What the page says that a step prints: the text block that follows."""
    following = BLOCKS[BLOCKS.index(step) + 1]
    return following.text if following.language == "text" else ""


def masked(line: str) -> tuple[str, list[str]]:
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    return re.sub(r"[\s━─]+", " ", _NUMBER.sub("N", line)).strip(), _NUMBER.findall(line)


def is_near(shown: str, printed: str) -> bool:
    (shown_words, shown_numbers), (words, numbers) = masked(shown), masked(printed)
    return shown_words == words and all(map(_is_near_number, shown_numbers, numbers))


def _is_near_number(shown: str, printed: str) -> bool:
    if "." not in shown or shown.endswith("%"):
        return shown == printed
    return abs(float(shown.replace(",", "")) - float(printed.replace(",", ""))) <= CLOSE


def missing_lines(shown: str, printed: str) -> list[str]:
    """Lines that the page shows and the command did not print."""
    lines = [line for line in printed.splitlines() if line.strip()]
    return [
        line
        for line in shown.splitlines()
        if line.strip() not in ("", "...") and not any(is_near(line, real) for real in lines)
    ]


def save_files(folder: Path, grpc: int = 8500) -> None:
    """The files that the reader saves: programs say their name in their first line."""
    for block in BLOCKS:
        if named := re.match(r"# (\w+\.py)\n", block.text):
            (folder / named[1]).write_text(block.text.replace(":8500", f":{grpc}"), encoding="utf-8")
    (folder / "articles.yaml").write_text(CONFIGURATION, encoding="utf-8")


def test_a_line_is_near_only_with_the_same_words_counts_and_about_the_same_numbers():
    assert is_near("auc 0.8370  9,000 rows/s", "auc  0.8301  17 rows/s")
    assert not is_near("auc 0.8370", "auc 0.7370")
    assert not is_near("auc 0.8370", "log_loss 0.8370")
    assert not is_near("16,000 rows", "16,001 rows")
    assert missing_lines("one 1\n\n...\ntwo 2\n", "two 2\n") == ["one 1"]


def test_the_pieces_are_one_configuration():
    assert parse_config(yaml.safe_load(CONFIGURATION), "quick-start.md").task_names == ["read", "saved"]


def test_the_walk_has_every_step():
    commands = [line.split()[1] for step in STEPS for line in step.lines if line.startswith("crossdistil ")]
    assert commands == ["prepare", "train", "evaluate", "export", "serve", "predict"]


def test_the_page_and_readme_show_one_walk():
    """README.md has the same configuration and the same commands."""
    (configuration,) = [block.text for block in blocks(ROOT / "README.md") if block.language == "yaml"]
    assert configuration == CONFIGURATION
    commands = [line for step in STEPS for line in step.lines if line.startswith("crossdistil ")]
    assert [line for block in README for line in block.lines] == commands


def test_the_logs_are_prepared_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_files(tmp_path)
    subprocess.run([sys.executable, "make_logs.py"], check=True, timeout=60)
    data = prepare(load_config(tmp_path / "articles.yaml"), ["articles.csv"], Path("data"), quiet=True)
    console = Console(record=True, width=160, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    show_prepared(data, console)
    (step,) = [step for step in STEPS if "crossdistil prepare" in step.text]
    # Without the line of the time that it took.
    assert missing_lines("\n".join(shown_after(step).splitlines()[:-1]), console.export_text()) == []


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.slow
def test_the_walk(tmp_path):
    grpc, rest = free_ports(2)
    save_files(tmp_path, grpc)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    server = None
    differing = {}
    try:
        for step in STEPS:
            script = step.text.replace(":8500", f":{grpc}").replace(":8501", f":{rest}")
            if "crossdistil serve" in script:
                script = f"exec {script.strip()} --grpc-port {grpc} --rest-port {rest}"
                with (tmp_path / "served.txt").open("w") as file:
                    server = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env=environment, stdout=file, stderr=file)
                printed = first_line(tmp_path / "served.txt")
            else:
                done = subprocess.run(
                    ["bash", "-e", "-c", script],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=300,
                    check=False,
                )
                printed = done.stdout + done.stderr
                assert done.returncode == 0, printed
            print(f"\n$ {step.text}{printed}")
            if missing := missing_lines(shown_after(step), printed):
                differing[step.name] = missing
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=30) == 0
    assert differing == {}


def first_line(file: Path) -> str:
    end = time.monotonic() + 60
    while not (text := file.read_text(encoding="utf-8")).endswith("\n"):
        assert time.monotonic() < end, "the server said nothing"
        time.sleep(0.2)
    return text
