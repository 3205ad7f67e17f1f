# SPDX-License-Identifier: Apache-2.0
"""What serving may import of this repository: the client must not bring the training code or the pipeline with it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import serving

FILES = sorted(Path(serving.__file__).parent.rglob("*.py"))
ALLOWED = {"tf_crossdistil.errors", "tf_crossdistil.model_versions", "tf_crossdistil.startup"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_else_of_the_package_is_imported(file: Path) -> None:
    ours = {name for name in imported(file) if name.partition(".")[0] in ("pipelines", "tests", "tf_crossdistil")}
    assert ours <= ALLOWED
