# SPDX-License-Identifier: Apache-2.0
"""Virtual environments of the training peers, one each, since their libraries do not go together with ours.

python -m benchmarks.environments

makes those that are missing or whose requirements have changed; they lie beside the sources as `.venv-bench-NAME`.
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.processes import ROOT

PEERS = ("deepctr", "torch_rechub")
# Packages of an index of their own: PyPI's torch comes with gigabytes of CUDA.
_INDEXES = {"torch": "https://download.pytorch.org/whl/cpu"}
# An index that cannot be reached is given up soon; pip goes on with the others.
_PATIENCE = ("--retries=1", "--timeout=15")
_LONGEST_SECONDS = 900


class NotInstalledError(Exception):
    """A peer's libraries cannot be installed here."""


def requirements(peer: str) -> Path:
    """The pinned requirements of a peer."""
    return Path(__file__).with_name("training_peers") / f"{peer}.txt"


def environment_python(peer: str) -> Path | None:
    """The interpreter of a peer's environment; None before it is made."""
    folder = _folder(peer)
    stamp = folder / ".requirements"
    made = stamp.is_file() and stamp.read_text() == _stamp(peer)
    return folder / "bin" / "python" if made else None


def make_environment(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made when it is not there.

    Raises:
        NotInstalledError: the requirements cannot be installed within 15 minutes.
    """
    python = environment_python(peer)
    if python is None:
        folder = _folder(peer)
        python = folder / "bin" / "python"
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], peer)
        for options in _installations(peer):
            _run([str(python), "-m", "pip", "install", "--quiet", *_PATIENCE, *options], peer)
        (folder / ".requirements").write_text(_stamp(peer))
    return python


def peer_python(peer: str, install: bool = True) -> Path | None:
    """The interpreter of a peer's environment; None, with a sentence that says so, for a peer that is left out.

    Args:
        peer: one of `PEERS`.
        install: whether to make the environment where it is not there.
    """
    try:
        python = make_environment(peer) if install else environment_python(peer)
        reason = f"{peer} has no environment; python -m benchmarks.environments makes it"
    except NotInstalledError as error:
        python, reason = None, str(error)
    if python is None:
        Console(stderr=True).print(f"{reason}; it is left out", highlight=False, soft_wrap=True)
    return python


def _installations(peer: str) -> Iterator[list[str]]:
    """Options of pip, for one installation after another."""
    pins = requirements(peer).read_text().splitlines()
    for package, index in _INDEXES.items():
        # By itself, so that this index is asked for nothing else.
        for pin in (line for line in pins if line.startswith(f"{package}==")):
            yield ["--no-deps", f"--extra-index-url={index}", pin]
    yield ["-r", str(requirements(peer))]


def _run(command: list[str], peer: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LONGEST_SECONDS)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or error.stdout.strip() or f"exit {error.returncode}").splitlines()[-1]
        raise NotInstalledError(f"{peer} cannot be installed: {reason}") from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalledError(f"{peer} cannot be installed within {_LONGEST_SECONDS // 60} minutes") from error


def _folder(peer: str) -> Path:
    return ROOT / f".venv-bench-{peer.replace('_', '-')}"


def _stamp(peer: str) -> str:
    return hashlib.sha256(requirements(peer).read_bytes()).hexdigest()


def main() -> None:
    """Makes all environments."""
    try:
        for peer in PEERS:
            print(make_environment(peer))
    except NotInstalledError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
