# SPDX-License-Identifier: Apache-2.0
"""The source distribution that Beam makes of `--setup_file ./setup.py` and installs on its workers."""

import shutil
import tarfile
from pathlib import Path

import pytest
from apache_beam.runners.portability.stager import Stager

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipelines", "serving", "tf_crossdistil")
FILES = ("README.md", "LICENSE", "setup.py", "pyproject.toml")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What is in the distribution of a copy of the repository, built as Beam's stager does."""
    folder = tmp_path_factory.mktemp("repository")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    if (ROOT / "MANIFEST.in").exists():
        shutil.copy(ROOT / "MANIFEST.in", folder)
    made = tmp_path_factory.mktemp("made")
    with tarfile.open(Stager._build_setup_package(str(folder / "setup.py"), str(made))) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def test_it_builds_and_installs_from_itself(names: set[str]) -> None:
    """`pyproject.toml` says what builds it."""
    assert set(FILES) <= names


def test_it_holds_every_file_of_every_package(names: set[str]) -> None:
    """But for pages that only people read."""
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }
    assert {"pipelines/py.typed", "tf_crossdistil/py.typed", "tf_crossdistil/demo.yaml"} <= expected
    assert expected <= names
