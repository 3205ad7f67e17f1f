# SPDX-License-Identifier: Apache-2.0
"""docs/study.md's tables: `python -m tests.study_page FOLDER` takes them, and the files beside them, from a comparison."""

import json
import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "study.md"
KEPT = DOCS / "study"
# What the command wrote, and the page rests on.
FILES = ("results.json", "comparison.json", "costs.json")
_BLOCK = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(page: str, folder: Path) -> str:
    """The page with the tables of a folder in their places."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{_table(folder, found[2])}\n{found[3]}", page)


def tables_in(page: str) -> list[str]:
    """The names of the tables that the page shows."""
    return [name for _, name, _ in _BLOCK.findall(page)]


def prose(page: str) -> str:
    """The page without its tables."""
    return _BLOCK.sub("", page)


def kept_numbers(folder: Path) -> set[str]:
    """Every number of the tables, to four digits behind the point, without its sign."""
    rows = [row for path in sorted((folder / "tables").glob("*.json")) for row in json.loads(path.read_text())["rows"]]
    values = [value for row in rows for value in row.values() if isinstance(value, float)]
    return {f"{abs(value):.4f}" for value in values}


def _table(folder: Path, name: str) -> str:
    return (folder / "tables" / f"{name}.md").read_text(encoding="utf-8")


def main() -> None:
    """Keeps what a comparison wrote beside the page, and writes its tables into the page."""
    folder = Path(sys.argv[1])
    shutil.rmtree(KEPT, ignore_errors=True)
    for name in ("tables", "figures"):
        shutil.copytree(folder / name, KEPT / name)
    for name in FILES:
        shutil.copyfile(folder / name, KEPT / name)
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), KEPT), encoding="utf-8")


if __name__ == "__main__":
    main()
