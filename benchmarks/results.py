# SPDX-License-Identifier: Apache-2.0
"""Runs benchmarks and keeps what they found: `make bench`.

python -m benchmarks.results [--only NAME ...]

Each benchmark's numbers become `benchmarks/measured/NAME.json`, with the machine and the libraries, and all that is there
becomes `benchmarks/RESULTS.md`: a run of some benchmarks renews theirs and leaves the others. One that fails keeps the numbers
that it had. Sizes are such that all take about 30 minutes on two cores that do nothing else.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console

from benchmarks.environments import PEERS, requirements
from benchmarks.goals import GOALS
from benchmarks.numbers_file import read_numbers
from benchmarks.processes import ROOT
from tf_crossdistil.local_files import appears_whole

FOLDER = Path(__file__).parent
# By name, the options that a benchmark is run with.
OPTIONS = {
    "generate": ["--rows=1000000"],
    "vocabulary": ["--entries=2000000"],
    "preprocess": ["--rows=5000000", "--peer-rows=1000000", "--repeats=2"],
    "train": [],
    "tasks": [],
    "input": [],
    "serving": [],
    "commands": [],
}
_PACKAGES = ("tensorflow", "tf_keras", "tensorflow-recommenders", "apache-beam", "polars", "numpy")


class Measured(BaseModel):
    """What one benchmark found.

    Attributes:
        command: that ran it.
        date: of its end, in UTC.
        minutes: that it took.
        load: of the machine when it began, the mean number of processes that ran in the minute before.
        machine: processor, cores, memory and Python.
        packages: versions of our libraries, and of those that the training peers have in environments of their own.
        numbers: by name, as the benchmark's `--json` has them.
    """

    command: str
    date: datetime
    minutes: float
    load: float
    machine: str
    packages: dict[str, str]
    numbers: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs benchmarks one after another; returns 1 where one failed, 130 when interrupted, else 0."""
    parser = argparse.ArgumentParser(description="Benchmarks one after another, into measured/NAME.json and RESULTS.md.")
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS), help="benchmarks to run (default all)")
    names = parser.parse_args(arguments).only
    console, failed = Console(stderr=True), []
    for number, name in enumerate(names, start=1):
        console.rule(f"{number} of {len(names)}: {name}")
        try:
            found = measure(name)
        except KeyboardInterrupt:
            console.print(f"interrupted; {name} keeps the numbers that were there")
            return 128 + signal.SIGINT
        if found is None:
            failed.append(name)
            continue
        write(FOLDER, name, found)
        console.print(f"{name} took {found.minutes:.1f} minutes", highlight=False)
    console.print(f"{FOLDER / 'RESULTS.md'} has what {FOLDER / 'measured'} holds", highlight=False, soft_wrap=True)
    if failed:
        console.print(f"error: {', '.join(failed)} failed and kept the numbers that were there; the reason stands above")
    return 1 if failed else 0


def measure(name: str) -> Measured | None:
    """Runs a benchmark in a process of its own; None where it fails, and says why itself."""
    command = ["python", "-m", f"benchmarks.{name}", *OPTIONS[name]]
    start, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.json"
        if subprocess.run([sys.executable, *command[1:], f"--json={path}"], cwd=ROOT, check=False).returncode:
            return None
        numbers = read_numbers(path)
    return Measured(
        command=" ".join(command),
        date=datetime.now(timezone.utc).replace(microsecond=0),
        minutes=round((time.monotonic() - start) / 60, 1),
        load=round(load, 1),
        machine=machine(),
        packages=dict(packages()),
        numbers=numbers,
    )


def machine() -> str:
    """Processor, cores, memory and Python."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.machine()}, {cores} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def packages() -> Iterable[tuple[str, str]]:
    """Name and version of our libraries that are installed, then `PEER: LIBRARY` and version of the peers' requirements."""
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)
    for peer in PEERS:
        for line in requirements(peer).read_text(encoding="utf-8").splitlines():
            if "==" in line:
                library, _, pinned = line.partition("==")
                yield f"{peer}: {library}", pinned


def write(folder: Path, name: str, found: Measured) -> None:
    """Writes `measured/NAME.json` and, of all that is there then, `RESULTS.md`."""
    with appears_whole(folder / "measured" / f"{name}.json") as unfinished:
        unfinished.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with appears_whole(folder / "RESULTS.md") as unfinished:
        unfinished.write_text(render(read(folder)), encoding="utf-8")


def read(folder: Path) -> dict[str, Measured]:
    """What was measured, by the benchmark's name, in the order of `OPTIONS`."""
    paths = {name: folder / "measured" / f"{name}.json" for name in OPTIONS}
    return {name: Measured.model_validate_json(path.read_bytes()) for name, path in paths.items() if path.is_file()}


def render(measured: dict[str, Measured]) -> str:
    """The page."""
    lines = [
        "# What the benchmarks measured",
        "",
        "Written by `python -m benchmarks.results` out of `benchmarks/measured/NAME.json`, which also names the libraries.",
        "Each module's docstring in `benchmarks/` says what exactly is compared, and how.",
    ]
    for name, found in measured.items():
        lines += ["", f"## {name}", "", f"`{found.command}` on {found.date:%d %B %Y}, {found.minutes:.1f} minutes;"]
        lines += [f"the load was {found.load:.1f} when it began. {found.machine}.", ""]
        lines += ["| number | measured | goal | |", "| --- | ---: | ---: | --- |"]
        for key, value in found.numbers.items():
            goal = GOALS.get(key)
            verdict = "" if goal is None else "met" if goal.met(value) else "**missed**"
            shown = f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
            lines.append(f"| {key} | {shown} | {goal or ''} | {verdict} |")
    missing = sorted(GOALS.keys() - {key for found in measured.values() for key in found.numbers})
    if missing:
        lines += ["", f"Not measured: {', '.join(missing)}; a peer that cannot be installed is left out."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
