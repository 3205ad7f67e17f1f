"""docs/configuration.md: its examples are valid, it has every key, and the defaults that it gives are those of the code."""

import re
from pathlib import Path

import pytest
import yaml

from tf_crossdistil import config
from tf_crossdistil.config_file import parse_config

PAGE = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1:]]
SECTIONS = [value for value in vars(config).values() if isinstance(value, type) and hasattr(value, "model_fields")]


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


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_is_there(section):
    assert [key for key in section.model_fields if f"`{key}`" not in PAGE and f"\n{key}: " not in PAGE] == []


@pytest.mark.parametrize("section", [config.Training, config.Distillation, config.Model, config.CategoricalFeature])
def test_defaults_are_those_of_the_code(section):
    rows = dict(re.findall(r"^\| (?:`\w+` )?\|? ?`(\w+)` \| ([\w.]+) \|", PAGE, re.MULTILINE))
    assert rows.keys() & section.model_fields.keys()
    for key, field in section.model_fields.items():
        if key in rows and isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            assert rows[key] == str(field.default).removesuffix(".0"), key
