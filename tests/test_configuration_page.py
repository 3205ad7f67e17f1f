# SPDX-License-Identifier: Apache-2.0
"""docs/configuration.md has valid examples, and docs/configuration-reference.md is what the generator writes of the code."""

import re
from pathlib import Path

import pytest
import yaml

from tf_crossdistil import config
from tf_crossdistil.config.reference import reference
from tf_crossdistil.config_file import parse_config

DOCS = Path(__file__).parent.parent / "docs"
GUIDE = (DOCS / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)[1:]]
# Without what two kinds of features have in common, which stands with each.
SECTIONS = [
    value
    for value in vars(config).values()
    if isinstance(value, type) and hasattr(value, "model_fields") and value is not config.VocabularyFeature
]


def complete(example):
    smallest = {
        "name": "page",
        "tasks": [{"name": "finish", "column": "finish"}],
        "features": [{"name": "user", "kind": "categorical"}],
        "split": {"by": "hash", "key": ["user"]},
    }
    return smallest | example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(next(iter(example.values())))[:30])
def test_examples_are_valid(example):
    parse_config(complete(example), "docs/configuration.md")


def test_the_committed_reference_is_that_of_the_code():
    assert (DOCS / "configuration-reference.md").read_text(encoding="utf-8") == reference(), (
        "run: python -m tf_crossdistil.config.reference > docs/configuration-reference.md"
    )


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_has_a_row(section):
    rows = [set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)) for part in reference().split("\n## ")]
    assert set(section.model_fields) in rows


def test_types_defaults_limits_and_meanings_are_told():
    """A key of each sort, beside what a reader of the code would write."""
    rows = set(reference().splitlines())
    assert "| `batch_size` | whole number | `4096` | at least 1 | Natural rows a step. |" in rows
    assert "| `high` | number | required |  | The greatest number. |" in rows
    assert "| `dropout` | number | `0` | at least 0, below 1 | On hidden layers. |" in rows
    assert "| `towers` | list: whole number at least 1 | `[32]` |  | Hidden units of every task's tower. |" in rows
    assert (
        "| `checkpoints` | [training.checkpoints](#trainingcheckpoints) | its defaults |  | What is kept, and how often. |"
        in rows
    )
    assert any(row.startswith("| `interaction` | `none`, `cross`, `multi_layer_dcn`, `dot` | `none` |") for row in rows)
    assert any(row.startswith("| `joins` | list: [source.joins](#sourcejoins) |  |  |") for row in rows)


@pytest.mark.parametrize("page", ["configuration.md", "configuration-reference.md"])
def test_links_lead_to_headings(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([\w-]+\.md)?#([\w-]+)\)", text)
    assert links
    for file, anchor in links:
        titles = re.findall(r"^#+ (.+)$", (DOCS / (file or page)).read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert anchor in anchors, (file, anchor)


def test_the_guide_names_every_section_and_method():
    from tf_crossdistil.models.methods import METHODS

    headings = set(re.findall(r"^## (\w+)$", GUIDE, re.MULTILINE))
    assert headings == set(config.Experiment.model_fields) - {"name"}
    assert set(re.findall(r"^\| `(\w+)` \|", GUIDE.split("## distillation")[1].split("## training")[0], re.MULTILINE)) == {
        "method",
        *METHODS,
    }
