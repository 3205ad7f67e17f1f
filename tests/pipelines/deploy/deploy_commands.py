# SPDX-License-Identifier: Apache-2.0
"""The files for operators, and their command lines; Docker, Dataflow, Flink, Airflow and cron cannot be run from tests."""

import re
import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.options import PreprocessOptions, beam_options

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "pipelines/deploy"
IMAGE = re.compile(r"\S+/crossdistil-preprocess:VERSION")
COMMAND = re.compile(r"(?:python -m pipelines\.preprocess|crossdistil prepare) ")


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def check_command(arguments: list[str]) -> PreprocessOptions:
    """Parses the arguments of our command as the command does."""
    options = beam_options(arguments).view_as(PreprocessOptions)
    options.check()
    assert options.config
    return options


def arguments_of(line: str) -> list[str]:
    """The arguments of our command in a line of a shell, up to a redirection."""
    words = shlex.split(COMMAND.split(line, maxsplit=1)[1])
    ends = [position for position, word in enumerate(words) if word.startswith((">", "2>", "#", "|", "&&"))]
    return words[: min(ends, default=len(words))]


def pinned(package: str) -> str:
    (version,) = re.findall(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return version


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
