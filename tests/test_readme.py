"""README's examples hold: the configuration is valid, every command exists with the options it shows."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tf_crossdistil.cli.app import app
from tf_crossdistil.config_file import parse_config

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    crossdistil (.+)$", README, re.MULTILINE)


def test_the_configuration_is_valid():
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert parse_config(yaml.safe_load(block), "README.md").task_names == ["is_click", "long_view"]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_options(line):
    words = shlex.split(line)
    shown = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
    # `prepare` prints its help through the pipeline's own parser.
    options = [word for word in words if word.startswith("--")]
    assert shown.exit_code == 0
    assert [option for option in options if option not in plain] == []


def test_the_walk_is_complete():
    assert [line.split()[0] for line in COMMANDS] == ["prepare", "inspect", "train", "evaluate", "export", "serve", "predict"]
