# SPDX-License-Identifier: Apache-2.0
"""What is shipped: the wheel, the configurations, and the demo that README promises."""

import email
import json
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import yaml

from tests.packaging import matrix
from tests.packaging.matrix import PACKAGES, VERSIONS, build_wheel
from tf_crossdistil import __version__
from tf_crossdistil.config_file import load_config
from tf_crossdistil.demo import CONFIG

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built with the setuptools that is here, so that nothing is downloaded; the matrix builds it as pip does."""
    return zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"), "--no-isolation", "--skip-dependency-check"))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_holds_every_file_of_the_three_packages_and_nothing_else(wheel):
    """So no tests, benchmarks or configurations, but `py.typed` and the deployment files."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    expected = {str(path) for path in files if not any(part.startswith((".", "__pycache__")) for part in path.parts)}
    assert {"serving/py.typed", "pipelines/deploy/flink.yaml", "serving/deploy/kubernetes/scaling.yaml"} <= expected
    assert names == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_the_wheel_says_what_it_is(wheel, metadata):
    assert (metadata["Name"], metadata["Version"]) == ("tf-crossdistil", __version__)
    assert metadata["Requires-Python"] == ">=3.10,<3.14"
    classifiers = metadata.get_all("Classifier", [])
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    assert (tuple(named), "Typing :: Typed" in classifiers) == (VERSIONS, True)
    assert [wheel.read(name) for name in wheel.namelist() if name.endswith("LICENSE")] == [(ROOT / "LICENSE").read_bytes()]


def test_every_source_file_begins_with_its_licence():
    sources = [path for room in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    first = "# SPDX-License-Identifier: Apache-2.0"
    assert len(sources) > 500
    assert [path for path in [ROOT / "setup.py", *sources] if path.read_text(encoding="utf-8").split("\n")[0] != first] == []


def test_the_matrix_fails_where_it_tried_nothing(monkeypatch):
    monkeypatch.setattr(matrix, "interpreter", lambda version: None)
    monkeypatch.setattr(matrix, "build_wheel", lambda folder: folder / "some.whl")
    assert matrix.main(["3.10"]) == 1


def test_the_description_of_the_wheel_needs_no_other_file(metadata):
    description = metadata.get_payload()
    assert "TensorFlow Serving" in description
    assert not re.search(r"\]\((?!https?:)", description)


@pytest.mark.parametrize(("version", "goes_on"), [((3, 10), False), ((3, 11), True), ((3, 12), False)])
def test_make_wants_the_python_of_the_constraints(tmp_path, version, goes_on):
    for name in ("Makefile", "constraints.txt", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    stub = tmp_path / "python"
    stub.write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = {version}\n"
        "if sys.argv[1] == '-c':\n    exec(sys.argv[2])\nelse:\n    open('made', 'w')\n    sys.exit('enough')\n"
    )
    stub.chmod(0o755)
    done = subprocess.run(["make", "demo", f"PYTHON={stub}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert ((tmp_path / "made").exists(), "give PYTHON=/path/to/python3.11" in done.stdout) == (goes_on, not goes_on)


def test_the_changelog_begins_with_the_version_that_is_shipped():
    versions = re.findall(r"^## \[(.+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def test_what_the_extras_of_developers_need_is_pinned(metadata):
    pinned = {re.split("==", line)[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    needed = [re.split(r"[\[><=; ]", line)[0].lower().replace("_", "-") for line in metadata.get_all("Requires-Dist", [])]
    assert len(needed) > 30
    assert [name for name in needed if name not in pinned] == []


def test_hooks_before_a_commit_download_nothing():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} <= {"system", "pygrep"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_are_valid_and_named_as_their_file(path):
    assert load_config(path).name == path.stem


def test_every_experiment_of_the_design_has_a_configuration():
    names = "amazon_electronics census demo kuairand movielens study tiktok"
    assert [path.stem for path in CONFIGS] == names.split()
    assert CONFIGS[2].read_text() == CONFIG.read_text()


def test_the_demo_goes_the_whole_way(tmp_path):
    command = [sys.executable, "-m", "tf_crossdistil.cli.main", "demo", "--out", "out", "--rows", "20000"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for words in ("gRPC: 256 rows answered", "REST: 256 rows answered", "reachable", "Multi-AUC", "crossdistil serve"):
        assert words in done.stdout
    for noise in ("Traceback", "WARNING", "cuInit", "retracing"):
        assert noise not in done.stdout + done.stderr
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("<svg") >= 10
    metrics = json.loads((tmp_path / "out/runs/crossdistil/test.json").read_text())
    assert set(metrics) == {"split", "rows", "tasks", "teachers", "best"}
    assert metrics["best"]["finish"]["auc"] > metrics["tasks"]["finish"]["auc"] > 0.5
    assert (tmp_path / "out/models/demo/1/saved_model.pb").is_file()
