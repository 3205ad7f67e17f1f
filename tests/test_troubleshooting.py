# SPDX-License-Identifier: Apache-2.0
"""docs/troubleshooting.md has every error sentence of the source with its cure, and no other."""

import ast
import re

import pytest

from tests.error_sentences import GAP, MARKER, PACKAGES, PAGE, ROOT, _Module, cure_within, page, sentences, written_cures

TEXT = PAGE.read_text(encoding="utf-8")
FOUND = {text for texts in sentences().values() for text in texts}
QUOTED = re.findall(r"^> error: (.+)$", TEXT, re.MULTILINE)


def test_the_committed_page_is_that_of_the_source():
    assert page() == TEXT, "run: python -m tests.error_sentences"


def test_every_sentence_has_a_cure():
    cures = written_cures()
    assert sorted(text for text in FOUND if cure_within(text) is None and text not in cures) == [], (
        "add them to docs/error-cures.yaml"
    )
    assert "| ? |" not in TEXT
    # A question is not yet something to do.
    assert not re.search(r"\| Did you mean \S+ \|$", TEXT, re.MULTILINE)


def test_no_written_cure_is_stale_or_needless():
    assert sorted(text for text in written_cures() if text not in FOUND or cure_within(text)) == []


def test_whatever_a_search_finds_is_there():
    """Found in another way: the first words of errors, as they stand in the files."""
    made = re.compile(r"\b(?:CrossDistilError|UsageError|PredictionError)\(\s*f?([\"'])([^\"'{}\\]{10,}?)(?:\1|\{|')")
    words = [
        match[2].strip()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for match in made.finditer(path.read_text(encoding="utf-8"))
    ]
    assert len(words) > 80
    shown = re.sub(r"\\([*<_|])", r"\1", TEXT.split(MARKER)[1])
    assert [beginning for beginning in words if beginning not in shown] == []


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda quoted: quoted[:30])
def test_quoted_errors_are_sentences_of_the_source(quoted):
    patterns = ("".join(".+" if part == GAP else re.escape(part) for part in re.split(f"({GAP})", text)) for text in FOUND)
    # One with hardly any words of its own would fit everything.
    assert [pattern for pattern in patterns if len(re.sub(r"\W", "", pattern)) > 20 and re.fullmatch(pattern, quoted)]


SOURCE = """
HINT = "give another --out"

def read(path, place):
    fault = "no file" if place else f"{place} is empty"
    raise UsageError(f"cannot read {path}: {fault}; {HINT}")

def wrong(what):
    return CrossDistilError(f"the table {what}; {mend()}")

def mend():
    return "mend it"

def check(rows):
    if not rows:
        raise wrong("has no rows")
    raise wrong(f"has {rows} rows")

def other():
    raise OtherError("not shown as a sentence")
"""


def test_sentences_are_read_as_the_program_builds_them():
    found = set(_Module(ast.parse(SOURCE), {"UsageError", "CrossDistilError"}, set()).sentences())
    assert found == {
        "cannot read …: no file; give another --out",
        "cannot read …: … is empty; give another --out",
        "the table has no rows; mend it",
        "the table has … rows; mend it",
    }


@pytest.mark.parametrize(
    ("sentence", "cure"),
    [
        ("… is empty; give files with rows", "give files with rows"),
        ("… fails: …; this is a fault of the export: please report it", "this is a fault of the export: please report it"),
        ("… has a column '…'; rename one, or leave it out", "rename one, or leave it out"),
        ("… must be at least 1; received …", None),
        ("… is missing: the runner gave up", None),
    ],
)
def test_the_cure_within_a_sentence_is_found(sentence, cure):
    assert cure_within(sentence) == cure
