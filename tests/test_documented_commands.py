# SPDX-License-Identifier: Apache-2.0
"""Command blocks of README and the guides: each is run by a test or says why not, and all its commands and options exist."""

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import pytest
import typer
from typer.testing import CliRunner

from tests.pages import PAGES, ROOT, Block, blocks, program_calls
from tf_crossdistil.cli.app import app

RUN_BY = re.compile(r"<!-- run by (tests/[\w/]+\.py) -->")
NOT_RUN = re.compile(r"<!-- not run: .{10,} -->")
BLOCKS = [block for page in PAGES for block in blocks(page)]
CALLS = [(block.name, words) for block in BLOCKS if block.is_command for words in program_calls(block)]


def fault(block: Block) -> str | None:
    """What is wrong with what a block says about who runs it."""
    if NOT_RUN.fullmatch(block.before):
        return None
    if not (found := RUN_BY.fullmatch(block.before)):
        return f"expected `<!-- run by tests/FILE.py -->` or `<!-- not run: REASON -->` before it, received {block.before!r}"
    if not (ROOT / found[1]).is_file():
        return f"{found[1]} does not exist"
    test = import_module(found[1].removesuffix(".py").replace("/", "."))
    return None if block in getattr(test, "RUNS", []) else f"{found[1]} does not run it: it is not among its RUNS"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_block_is_run_or_says_why_not(page):
    faults = {block.name: fault(block) for block in BLOCKS if block.page == page and block.is_command}
    assert {name: told for name, told in faults.items() if told} == {}


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("So it is done:", "expected `<!-- run by"),
        ("<!-- not run: -->", "expected `<!-- run by"),
        ("<!-- run by tests/test_no_such.py -->", "does not exist"),
        ("<!-- run by tests/test_tags.py -->", "does not run it"),
        ("<!-- run by tests/test_quick_start.py -->", "does not run it"),
        ("<!-- run by tests/test_guides.py -->", "does not run it"),
    ],
)
def test_a_block_that_says_nothing_or_what_is_not_true_is_found(before, told):
    assert told in str(fault(Block(ROOT / "README.md", 1, "sh", "make test\n", before)))


def test_blocks_of_every_form_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "One:\n\n    crossdistil train a.yaml \\\n      --data data\n\n    make demo\n\nTwo:\n```sh\nls\n```\n"
        "```text\n$ crossdistil inspect d\nrows\n```\n```text\nrows 1\n```\n    lazy\n\n    tree/\n"
    )
    found = list(blocks(page))
    assert [(block.line, block.language, block.before, block.is_command) for block in found] == [
        (3, "", "One:", True),
        (9, "sh", "Two:", True),
        (12, "text", "```", True),
        (16, "text", "```", False),
        (21, "", "    lazy", False),
    ]
    assert list(program_calls(found[0])) == [["crossdistil", "train", "a.yaml", "--data", "data"]]
    assert list(program_calls(found[2])) == [["crossdistil", "inspect", "d"]]


@cache
def help_of(command: str) -> str:
    """The help of one of our commands, which names all its options."""
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0, shown.output
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.output)


def test_every_command_and_option_exists():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    unknown = []
    for name, words in CALLS:
        if words[0] == "python":
            # Modules have parsers of their own; those with many options are parsed by the tests of their guides.
            unknown += [(name, words[2])] if find_spec(words[2]) is None else []
        elif words[1].startswith("-"):
            unknown += (
                [(name, words[1])] if words[1] not in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output else []
            )
        elif words[1] not in commands:
            unknown.append((name, words[1]))
        else:
            options = [word.split("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)]
            unknown += [(name, option) for option in options if not re.search(rf"{option}(?![\w-])", help_of(words[1]))]
    assert unknown == []


def test_python_blocks_are_python():
    for block in BLOCKS:
        if block.language == "python":
            compile(block.text, block.name, "exec")
