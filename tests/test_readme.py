# SPDX-License-Identifier: Apache-2.0
"""README: its configuration is valid, its commands are those of the walk, its links and its picture are there."""

import re
from xml.etree import ElementTree

import yaml

from tests.pages import PAGES, ROOT, blocks
from tf_crossdistil.config_file import parse_config

PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def test_two_commands_that_set_up_everything_come_first():
    first = next(block for block in blocks(PAGE) if block.is_command)
    assert [line.partition("#")[0].strip() for line in first.lines] == ["make demo", "make test"]
    assert first.line <= 16


def test_the_configuration_is_valid():
    (block,) = [block for block in blocks(PAGE) if block.language == "yaml"]
    assert parse_config(yaml.safe_load(block.text), "README.md").task_names == ["read", "saved"]


def test_no_page_or_sentence_installs_from_an_index_that_does_not_have_us():
    rooms = ("tf_crossdistil", "pipelines", "serving")
    texts = [*PAGES, *(path for room in rooms for suffix in ("py", "yaml") for path in (ROOT / room).rglob(f"*.{suffix}"))]
    assert "pip install ." in README
    assert [path for path in texts if re.search(r"install [^`\n]*tf[-_]crossdistil", path.read_text(encoding="utf-8"))] == []


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert len(links) > 15
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


def test_every_guide_is_linked():
    guides = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    # Why the defaults are what they are is told where the paper is.
    assert guides - {link for link in guides if f"({link})" in README} <= {"docs/defaults.md"}


def test_every_row_of_the_comparison_has_a_cell_for_each():
    table = README.split("## Beside others")[1].split("\n\n")[2].splitlines()
    assert {len(line.strip("|").split("|")) for line in table} == {7}
    assert len(table) > 10


def test_the_picture_says_what_it_shows_without_seeing_it():
    (path,) = re.findall(r"!\[.{20,}\]\((docs/images/.+\.svg)\)", README)
    picture = ElementTree.parse(ROOT / path).getroot()
    named = {element.get("id"): "".join(element.itertext()).strip() for element in picture.iter() if element.get("id")}
    assert all(named[name] for name in picture.attrib["aria-labelledby"].split())
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert {"Apache Beam", "Training", "SavedModel"} <= set(texts)
    # Pictures in README may load nothing, and must be readable on a dark page.
    assert not [
        element.tag for element in picture.iter() if element.tag in (f"{SVG}image", f"{SVG}script", f"{SVG}foreignObject")
    ]
    (style,) = picture.iter(f"{SVG}style")
    assert "prefers-color-scheme: dark" in "".join(style.itertext())
