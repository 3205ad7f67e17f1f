# SPDX-License-Identifier: Apache-2.0
"""docs/paper.md names files and functions that are there."""

import re
from pathlib import Path

import pytest

from tf_crossdistil.models.methods import METHODS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
# `file.py`: `name`, `name`
PLACES = [
    (file, name)
    for file, names in re.findall(r"`(tf_crossdistil/[a-z_/]+\.py)`: ((?:`\w+`(?:, )?)+)", TEXT)
    for name in re.findall(r"\w+", names)
]


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_every_equation_is_where_the_page_says(file, name):
    defined = rf"^\s*(def|class) {name}\b|^{name}\b.*="
    assert re.search(defined, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_has_every_equation_and_every_method():
    equations = {
        int(number)
        for first, last in re.findall(r"Eq\. (\d+)(?:-(\d+))?", TEXT.split("## Backbones")[0])
        for number in range(int(first), int(last or first) + 1)
    }
    assert equations >= set(range(1, 13))
    assert not [method for method in METHODS if f"`{method}`" not in TEXT and f"method: {method}" not in TEXT]
    assert len(PLACES) > 25
