# SPDX-License-Identifier: Apache-2.0
"""docs/serving.md: its edits are those that TF Serving accepts, its numbers, links and commands hold."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.serving.deploy.deploy_files import DEPLOY, ModelServer, container, parse_models, read, versions_of
from tests.serving.deploy.test_deploy_files_prometheus import check_query
from tf_crossdistil.cli.app import app

ROOT = DEPLOY.parents[1]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("docs/serving.md", "serving/README.md")}
GUIDE = PAGES["docs/serving.md"]
EDITS = dict(
    zip(
        ["load", "canary", "promote", "drop", "roll back", "load again", "restore"],
        re.findall(r"```proto\n(.*?)```", GUIDE, re.DOTALL),
        strict=True,
    )
)
ROLLOUTS = [
    ["load", "canary", "promote", "drop", "load again", "restore"],
    ["load", "canary", "roll back", "load"],
    ["load", "canary", "promote", "roll back"],
]
COMMANDS = re.findall(r"^    crossdistil (.+)$", "\n".join(PAGES.values()), re.MULTILINE)


def edited(step: str) -> Any:
    """models.config with the policy and the labels of a step of the guide."""
    return parse_models(f'model_config_list {{ config {{ name: "ranker" base_path: "/models/ranker" {EDITS[step]} }} }}')


def started(allow_unavailable: bool = True) -> tuple[ModelServer, bool]:
    server = ModelServer(allow_unavailable)
    return server, server.edit(parse_models(read("models.config")))


@pytest.mark.parametrize("steps", ROLLOUTS, ids=" ".join)
def test_every_edit_of_a_rollout_is_accepted(steps: list[str]) -> None:
    server, accepted = started()
    assert accepted
    for step in steps:
        assert server.edit(edited(step)), step


@pytest.mark.parametrize("step", EDITS)
def test_a_server_starts_with_the_files_of_every_step(step: str) -> None:
    config = edited(step)
    assert ModelServer().edit(config)
    # The flag is what makes it so.
    assert not ModelServer(allow_unavailable=False).edit(config)
    assert "--allow_version_labels_for_unavailable_models=true" in container()["args"]


@pytest.mark.parametrize("step", EDITS)
def test_labels_name_loaded_versions_and_memory_is_for_two(step: str) -> None:
    config = edited(step)
    assert set(config.version_labels) == {"stable", "canary"}
    assert set(config.version_labels.values()) <= versions_of(config)
    assert len(versions_of(config)) <= 2


def test_steps_that_the_guide_warns_of_are_refused() -> None:
    server, _ = started()
    assert not server.edit(edited("canary"))
    assert server.labels == {"stable": 1, "canary": 1}
    for step in ("load", "canary", "promote", "drop"):
        server.edit(edited(step))
    assert not server.edit(edited("restore"))


def test_memory_is_the_formulas() -> None:
    formula = re.search(r"memory = ([\d.]+) GiB .* \+ (\d) versions x (\d) x size", GUIDE)
    assert formula is not None
    base, versions, factor = (float(number) for number in formula.groups())
    rows = re.findall(r"^\| ([\d.]+) GiB \| ([\d.]+) GiB", GUIDE, re.MULTILINE)
    assert len(rows) == 3
    for folder, memory in rows:
        assert base + versions * factor * float(folder) == pytest.approx(float(memory), abs=0.05)
    assert container()["resources"]["limits"]["memory"].removesuffix("Gi") in dict(rows).values()


def test_the_measured_memory_is_within_the_formula() -> None:
    found = re.search(r"a folder of (\d+) MB: (\d+) MB more for the first version, (\d+) MB", " ".join(GUIDE.split()))
    assert found is not None
    folder, *versions = (int(number) for number in found.groups())
    assert all(folder < version < 2 * folder for version in versions)


def test_its_promql_asks_for_what_tf_serving_counts() -> None:
    queries = re.findall(r"^\| [^|]+ \| `([^`]*:tensorflow:[^`]*)` \|$", GUIDE, re.MULTILINE)
    assert len(queries) == 5
    for query in queries:
        check_query(query)


def test_the_canary_takes_its_share_of_users_and_keeps_them() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    users = [str(number) for number in range(5000)]
    sides = {percent: {user for user in users if names["side"](user, percent) == "canary"} for percent in (0, 10, 50, 100)}
    assert len(sides[0]) == 0
    assert len(sides[100]) == 5000
    assert 400 < len(sides[10]) < 600
    # Who was on the canary's side stays there when the share grows.
    assert sides[10] < sides[50]


def test_every_file_of_the_folder_is_in_the_table() -> None:
    table = GUIDE[: GUIDE.index("## First deployment")]
    files = [path.name for path in DEPLOY.iterdir() if not path.name.startswith("__")]
    assert files
    assert [name for name in files if f"`{name}" not in table] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    headings = re.findall(r"^#+ (.+)$", PAGES[page], re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = [link for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]) if not link.startswith("http")]
    assert links
    for link in links:
        target, _, anchor = link.partition("#")
        if target:
            assert ((ROOT / page).parent / Path(target)).exists(), link
        else:
            assert anchor in anchors, link


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_options(line: str) -> None:
    command, *words = line.split()
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
    assert shown.exit_code == 0
    assert [word for word in words if word.startswith("--") and word not in plain] == []
