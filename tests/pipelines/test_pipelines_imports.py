# SPDX-License-Identifier: Apache-2.0
"""What the pipelines import of this repository: a Beam worker, which needs no model, starts in a second."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipelines

FILES = sorted(Path(pipelines.__file__).parent.rglob("*.py"))
ALLOWED = {"config", "config_file", "errors", "local_files", "schema", "tags"}


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """Modules with the names that are taken from them."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_of_the_models_is_imported(file: Path) -> None:
    for module, name in imported(file):
        package, *parts = module.split(".")
        assert package not in ("benchmarks", "keras", "serving", "tensorflow", "tests", "tf_keras")
        if package == "tf_crossdistil":
            assert parts[0] in ALLOWED if parts else name == "__version__"


def test_importing_every_module_loads_no_tensorflow() -> None:
    code = (
        "import importlib, pkgutil, sys, pipelines\n"
        "for module in pkgutil.walk_packages(pipelines.__path__, 'pipelines.'):\n"
        # It is for Airflow's own environment.
        "    module.name.endswith('airflow_dag') or importlib.import_module(module.name)\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
