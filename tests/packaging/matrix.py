# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel, installs it into a fresh environment of every Python that is here, and uses it there as its users do.

`python -m tests.packaging.matrix [VERSION ...]`; the exit code is 1 if any of them failed, or none is here. Packages are the
newest that pip chooses: no constraints, which users do not have either.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
PACKAGES = ("pipelines", "serving", "tf_crossdistil")
PROGRAM = """\
from tf_crossdistil.config_file import load_config

name: {kind} = load_config("experiment.yaml").name
"""
# What the folder of the repository would otherwise lend to the processes under test.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


class Failed(Exception):
    """A command that ended otherwise than it should have; the text says which."""


def run(command: list[str | Path], folder: Path, code: int = 0) -> str:
    """What `command` printed; raises `Failed` with its last lines unless it ends with `code`."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != code:
        last = "\n".join(done.stdout.splitlines()[-25:])
        raise Failed(f"{' '.join(map(str, command))}: exit code {done.returncode}, expected {code}\n{last}")
    return done.stdout


def interpreter(version: str) -> str | None:
    """The path of Python `version`: from PATH, else from pyenv, else None."""
    candidates = [shutil.which(f"python{version}")]
    if pyenv := shutil.which("pyenv"):
        found = subprocess.run([pyenv, "prefix", version], capture_output=True, text=True, check=False)
        candidates.append(f"{found.stdout.strip()}/bin/python" if found.returncode == 0 else None)
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, candidates):
        # A shim of pyenv is on PATH for versions, too, that it then refuses to run.
        answer = subprocess.run([path, "-c", question], capture_output=True, text=True, check=False)
        if answer.stdout.strip() == version:
            return path
    return None


def build_wheel(folder: Path, *options: str) -> Path:
    """The wheel, built in a copy of the tree, so that what an earlier build left there is not in it.

    `options` are those of `python -m build`.
    """
    copy = folder / "repository"
    copy.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    run([sys.executable, "-m", "build", "--wheel", "--outdir", folder, *options], copy)
    (wheel,) = folder.glob("*.whl")
    return wheel


def use(python: str, wheel: Path, folder: Path) -> None:
    """Installs `wheel` for `python` into `folder` and asks of it what a user would; raises `Failed` at the first fault."""
    run([python, "-m", "venv", "environment"], folder)
    own = folder / "environment/bin/python"
    run([own, "-m", "pip", "install", wheel], folder)
    run([own, "-m", "pip", "check"], folder)
    for package in PACKAGES:
        place = run([own, "-c", f"import {package}; print({package}.__path__[0])"], folder).splitlines()[-1]
        if not (Path(place).is_relative_to(folder.resolve()) and (Path(place) / "py.typed").is_file()):
            raise Failed(f"{package} is imported from {place}: expected the new environment, with py.typed beside it")
    licence = run(
        [own, "-c", "from importlib.metadata import metadata; print(metadata('tf-crossdistil')['License-Expression'])"], folder
    )
    if licence.strip() != "Apache-2.0":
        raise Failed(f"the metadata have the licence {licence.strip()}, expected Apache-2.0")
    command = folder / "environment/bin/crossdistil"
    version = run([command, "--version"], folder).strip()
    if version != wheel.name.split("-")[1]:
        raise Failed(f"crossdistil --version printed {version}, but the wheel is {wheel.name}")
    run([command, "--help"], folder)
    shown = run([command, "demo", "--rows", "20000"], folder)
    if "REST: 256 rows answered" not in shown or "gRPC: 256 rows answered" not in shown:
        raise Failed(f"the demo ended without an answer of its server:\n{shown[-2000:]}")
    # The second program is wrong: a checker that does not see the types of the package passes it too.
    for kind, code in (("str", 0), ("int", 1)):
        program = folder / f"{kind}_program.py"
        program.write_text(PROGRAM.format(kind=kind))
        run([sys.executable, "-m", "mypy", "--strict", "--python-executable", own, program], folder, code)


def main(versions: list[str]) -> int:
    """Tries every version and tells how each went; the exit code."""
    failed = tried = 0
    with tempfile.TemporaryDirectory() as made:
        wheel = build_wheel(Path(made))
        print(f"built {wheel.name}", flush=True)
        for version in versions:
            python = interpreter(version)
            if python is None:
                print(f"{version}: not on this machine", flush=True)
                continue
            tried += 1
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    use(python, wheel, Path(folder))
                except Failed as fault:
                    failed += 1
                    print(f"{version}: FAILED: {fault}", flush=True)
                else:
                    print(f"{version}: installed, checked and used in {time.monotonic() - start:.0f} s", flush=True)
    return int(failed > 0 or not tried)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(VERSIONS)))
