# SPDX-License-Identifier: Apache-2.0
"""The operations guide: its commands, options, files and messages are those that there are."""

import re

import pytest

from tests.pipelines.deploy.deploy_commands import COMMAND, DEPLOY, ROOT, arguments_of, check_command


def shown_commands() -> list[str]:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.startswith("    ") and COMMAND.search(line)]


@pytest.mark.parametrize("line", shown_commands())
def test_commands_that_the_guide_shows_parse(line):
    options = check_command(arguments_of(line))
    if "/" in options.config and not options.config.startswith("/"):
        assert (ROOT / options.config).is_file()


def test_the_guide_shows_every_option_and_every_file():
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert len(shown_commands()) >= 8
    for option in ("--max-bad-fraction", "--vocabulary-from", "--global-shuffle", "--force", "--drift-bound"):
        assert option in guide
    for path in DEPLOY.iterdir():
        if path.is_file() and path.name != "__init__.py":
            assert path.name in guide


def test_the_guide_quotes_messages_that_there_are():
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipelines").rglob("*.py")))
    # Literals that stand behind one another are one text.
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    table = guide.split("| message | what to do |")[1].split("\n\n")[0]
    messages = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(messages) >= 10
    for message in messages:
        # The operating system's own words are none of ours.
        for piece in message.replace("No space left on device", "...").split("..."):
            assert piece.strip(" ,:;()") in source, message
