# SPDX-License-Identifier: Apache-2.0
"""docs/architecture.md is true of the source: its table orders all imports, and the files that it names are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("tf_crossdistil", "pipelines", "serving")
TENSORFLOW = ("tensorflow", "tf_keras", "keras", "tensorflow_recommenders", "tensorboard")


def rows_of(heading):
    """The cells of the first table under a heading."""
    part = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def names_in(cell):
    return re.findall(r"`([\w/.]+)`", cell)


def rule(beginning):
    """The names in the list item that begins so."""
    (found,) = [part for part in TEXT.split("\n* ") if part.startswith(beginning)]
    return names_in(found.split("\n\n")[0])


def imported(path: Path) -> Iterator[str]:
    """The full names of all modules of a file's imports, wherever they stand, but those for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, path
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room(module):
    """`tf_crossdistil.data` of `tf_crossdistil.data.records.Columns`; the package alone where it is the package itself."""
    package, name = [*module.removesuffix(".__init__").split("."), ""][:2]
    in_package = (ROOT / package / name).is_dir() or (ROOT / package / f"{name}.py").is_file()
    return f"{package}.{name}" if package == "tf_crossdistil" and name and in_package else package


FILES = {
    path: (".".join(path.relative_to(ROOT).with_suffix("").parts), set(imported(path)))
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
}
EDGES = {
    (room(module), room(name), module)
    for module, names in FILES.values()
    for name in names
    if name.split(".")[0] in PACKAGES and room(name) != room(module)
}
LEVELS = {
    f"tf_crossdistil.{name}": level
    for level, (cell, _) in enumerate(rows_of("Rooms, and what imports what"))
    for name in names_in(cell)
}


def test_every_room_stands_in_the_table():
    found = {room(module) for module, _ in FILES.values()} - {"tf_crossdistil", "tf_crossdistil.deploy", "pipelines", "serving"}
    assert found == LEVELS.keys()


def test_imports_run_downwards_only():
    wrong = [
        f"{module} imports {name}"
        for start, name, module in sorted(EDGES)
        if start in LEVELS and name in LEVELS and LEVELS[start] >= LEVELS[name]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["pipelines", "serving"])
def test_the_other_packages_import_only_what_the_page_says(package):
    allowed = {f"tf_crossdistil.{name}" for name in rule(f"`{package}` imports of")} | {"tf_crossdistil"}
    assert {name for start, name, _ in EDGES if start == package} - allowed == set()


def test_only_the_command_line_knows_the_other_packages():
    assert {start for start, name, _ in EDGES if name in ("pipelines", "serving")} == {
        "tf_crossdistil.cli",
        "tf_crossdistil.demo",
    }


def test_what_must_start_quickly_imports_no_tensorflow():
    names = rule("`config`, `config_file`")
    quick = {f"tf_crossdistil.{name}" for name in names if name != "pipelines"} | {"pipelines"}
    assert len(quick) > 8
    for module, imports in FILES.values():
        if room(module) in quick or module.startswith("serving.client"):
            assert [name for name in imports if name.split(".")[0] in TENSORFLOW] == [], module


@pytest.mark.parametrize("cell", [row[1] for row in rows_of("Where a behaviour is found")])
def test_files_are_where_the_page_says(cell):
    names = names_in(cell)
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_the_picture_is_readable_text_in_both_themes():
    picture = (ROOT / "docs" / "images" / "architecture.svg").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in picture
    assert "<title" in picture and "<desc" in picture
    shown = " ".join(re.findall(r"<text[^>]*>([^<]+)<", picture))
    assert [
        name for name in ("pipelines", "tf_crossdistil", "serving", "backbones", "training", "config") if name not in shown
    ] == []
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
