# SPDX-License-Identifier: Apache-2.0
"""The guides' commands, run as they stand, on small logs in place of those that the guides speak of.

The pages: README.md of serving, operations.md, datasets.md, load-test.md, serving.md, skew.md, tuning.md.
"""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.synthetic import write_logs
from tests.pages import PAGES, ROOT, Block, blocks
from tests.serving.server_process import end_server, start_server

pytestmark = pytest.mark.slow

RUN = "<!-- run by tests/test_guides.py -->"
# Each of them is run by `test_the_commands_of_a_guide`.
RUNS = [block for page in PAGES for block in blocks(page) if block.before == RUN]
RANKER = {
    "name": "ranker",
    "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
    "features": [
        {"name": "uid", "kind": "categorical", "dim": 4},
        {"name": "author_id", "kind": "hashed", "buckets": 100, "dim": 4},
        {"name": "video_duration", "kind": "numeric", "transform": "log1p"},
    ],
    "split": {"by": "hash", "key": ["uid", "item_id"], "fractions": [0.8, 0.1, 0.1]},
    "training": {"epochs": 1},
}
# What would take long, or lies elsewhere, in the guides' commands.
INSTEAD = {
    "/srv/models": "models",
    "--trials 6": "--trials 2",
    "--set training.epochs=3": "--set training.epochs=1",
    "--seeds 0,1,2": "--seeds 0 --set training.epochs=1",
    "crossdistil load-test": "crossdistil load-test --seconds 0.2",
    "crossdistil train configs/kuairand.yaml": "crossdistil train configs/kuairand.yaml --set training.epochs=1",
}


def impressions(rows: int, seed: int) -> list[dict[str, int]]:
    """Rows with the columns and the times that configs/kuairand.yaml expects."""
    draws = random.Random(seed)
    return [
        {
            "user_id": draws.randrange(100),
            "video_id": draws.randrange(60),
            "hourmin": 100 * draws.randrange(24),
            "duration_ms": draws.randrange(5_000, 90_000),
            "time_ms": draws.randrange(1_649_000_000_000, 1_650_540_000_000),
            "is_click": int(draws.random() < 0.6),
            "long_view": int(draws.random() < 0.4),
        }
        for _ in range(rows)
    ]


def write_impressions(file: Path, rows: int, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(impressions(1, 0)[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(impressions(rows, seed))
        # One row is wrong, so that there are dead letters to look at.
        writer.writerow(impressions(1, seed)[0] | {"is_click": "maybe"})


def write_lines(file: Path, rows: list[dict]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def steps(page: Path) -> list[Block]:
    return [block for block in RUNS if block.page == page]


class Shell:
    """A folder in which commands run."""

    def __init__(self, folder: Path):
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}

    def __call__(self, script: str) -> str:
        command = ["bash", "-e", "-o", "pipefail", "-c", script]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Logs, data, runs and models under the names that the guides use."""
    folder = tmp_path_factory.mktemp("guides")
    (folder / "configs").symlink_to(ROOT / "configs")
    for number, name in enumerate(["logs/impressions", "logs/day1/all", "logs/day2/all", "logs/day3/all", "kuairand"]):
        write_impressions(folder / f"{name}.tsv", 2000, number)
    write_lines(
        folder / "logs" / "stars.jsonl", [{"user_id": n % 40, "item_id": n % 70, "stars": n % 5, "at": n} for n in range(400)]
    )
    (folder / "ranker.yaml").write_text(yaml.safe_dump(RANKER), encoding="utf-8")
    write_logs(folder / "ranker.csv", 4000, 0, False)

    shell = Shell(folder)
    shell("crossdistil prepare ranker.yaml --input ranker.csv --output prepared/ranker")
    shell("crossdistil train ranker.yaml --data prepared/ranker --run runs/1")
    shell("crossdistil export --run runs/1 --to served/ranker")
    shell("crossdistil prepare configs/kuairand.yaml --input kuairand.tsv --output data")
    shell("crossdistil train configs/kuairand.yaml --data data --run runs/yesterday --set training.epochs=1")
    shell("crossdistil export --run runs/yesterday --to served/kuairand")
    shutil.copytree(folder / "runs" / "1", folder / "runs" / "2")
    return shell


@pytest.fixture(scope="module")
def ports(shell):
    """Where the models `ranker` and `kuairand` are served: what stands in the guides, and what it is here."""
    servers = {name: start_server(shell.folder / "served" / name) for name in ("ranker", "kuairand")}
    yield {name: {"127.0.0.1:8500": server.grpc, "127.0.0.1:8501": server.rest_address} for name, server in servers.items()}
    for server in servers.values():
        end_server(server)


@pytest.mark.parametrize("page", [page for page in PAGES if steps(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_guide(shell, ports, page):
    (run,) = (shell.folder / "data").glob("run=*")
    model = "kuairand" if page.name in ("load-test.md", "skew.md") else "ranker"
    columns = (
        ["user_id", "video_id", "hourmin", "duration_ms"] if model == "kuairand" else ["uid", "author_id", "video_duration"]
    )
    rows = impressions(1500, 9) if model == "kuairand" else [dict.fromkeys(columns, n % 50) for n in range(50)]
    write_lines(shell.folder / "requests.jsonl", [{name: row[name] for name in columns} for row in rows])
    (shell.folder / "requests.csv").write_text("uid,author_id,video_duration\n17,4,9.5\n", encoding="utf-8")
    shutil.copy(run / "sample.jsonl", shell.folder)
    for step in steps(page):
        script = step.text.removeprefix("$ ")
        for shown, here in (INSTEAD | ports[model]).items():
            script = script.replace(shown, here)
        print(f"$ {script}{shell(script)}")


def test_the_client_as_the_serving_page_shows_it(shell, ports):
    program = next(block.text for block in blocks(ROOT / "serving" / "README.md") if block.language == "python")
    address = ports["ranker"]["127.0.0.1:8500"]
    (shell.folder / "ask.py").write_text(program.replace("127.0.0.1:8500", address) + "print(answers)\n", encoding="utf-8")
    assert "like" in shell("python ask.py")
