# SPDX-License-Identifier: Apache-2.0
"""The blocks of code in the Markdown pages, and which of them are commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "serving" / "README.md"]
SHELLS = ("sh", "bash", "console")
# A block without a language, or of plain text, shows commands where a line begins with one of these.
PROGRAMS = [
    *(
        "crossdistil",
        "python",
        "python3",
        "pip",
        "make",
        "export",
        "cd",
        "mkdir",
        "echo",
        ".",
        "source",
        "git",
        "curl",
        "unzip",
    ),
    *("tar", "zcat", "jq", "docker", "kubectl", "gcloud", "sbatch", "srun", "tensorboard", "pre-commit"),
]
OURS = ("pipelines", "serving", "benchmarks", "tf_crossdistil")
_FENCE = re.compile(r"( *)```(\w*)$")


@dataclass(frozen=True)
class Block:
    """One block of code: where its text begins, its language (empty where it is only indented), the line before it."""

    page: Path
    line: int
    language: str
    text: str
    before: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_command(self) -> bool:
        if self.language in SHELLS:
            return True
        return self.language in ("", "text") and any(_first_word(line) in PROGRAMS for line in self.lines)

    @property
    def lines(self) -> list[str]:
        """Its lines, those that end in a backslash joined with the next."""
        return re.sub(r"\\\n\s*", "", self.text).splitlines()


def _first_word(line: str) -> str:
    """What a line of shell calls, after a prompt and settings of the environment."""
    return re.sub(r"^(\$ )?([A-Z_]+=\S* )*", "", line).partition(" ")[0]


def blocks(page: Path) -> Iterator[Block]:
    """The page's blocks from top to bottom: fenced ones, and those indented by four spaces after an empty line."""
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        start, language, block = at, "", []
        if fence := _FENCE.match(lines[at]):
            indent, language = fence.groups()
            while lines[at := at + 1].strip() != "```":
                block.append(lines[at].removeprefix(indent))
        elif lines[at].startswith("    ") and not lines[at - 1].strip():
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                block.append(lines[at][4:])
                at += 1
        at += 1
        if block:
            yield Block(page, start + 1, language, "\n".join(block).rstrip() + "\n", _line_before(lines, start))


def _line_before(lines: list[str], start: int) -> str:
    """The line before a block; an indented one has an empty line between."""
    before = start - 1
    while before >= 0 and not lines[before].strip():
        before -= 1
    return lines[before] if before >= 0 else ""


def program_calls(block: Block) -> Iterator[list[str]]:
    """The words of each call of our programs in a block: `crossdistil ...`, `python -m pipelines...`."""
    for line in block.lines:
        for part in re.split(r"\s(?:&&|\|\||;|\|)\s", line.removeprefix("$ ")):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # a quotation that goes on in the next line
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            is_module = words[:2] == ["python", "-m"] and words[2].split(".")[0] in OURS
            if is_module or (words[:1] == ["crossdistil"] and len(words) > 1):
                yield words
