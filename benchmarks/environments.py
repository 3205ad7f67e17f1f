"""Virtual environments of the training peers, one each, since their libraries do not go together with ours.

python -m benchmarks.environments

makes those that are missing or whose requirements have changed; they lie beside the sources as `.venv-bench-NAME`.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.preprocess import ROOT

PEERS = ("deepctr", "torch_rechub")


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
        CalledProcessError: pip cannot install the requirements; it has said why.
    """
    python = environment_python(peer)
    if python is None:
        folder = _folder(peer)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        python = folder / "bin" / "python"
        # PyTorch's own index is asked for every package; where it cannot be reached, that should not take minutes.
        pip = [str(python), "-m", "pip", "install", "--quiet", "--retries=0", "-r", str(requirements(peer))]
        subprocess.run(pip, check=True)
        (folder / ".requirements").write_text(_stamp(peer))
    return python


def _folder(peer: str) -> Path:
    return ROOT / f".venv-bench-{peer.replace('_', '-')}"


def _stamp(peer: str) -> str:
    return hashlib.sha256(requirements(peer).read_bytes()).hexdigest()


def main() -> None:
    """Makes all environments."""
    for peer in PEERS:
        print(make_environment(peer))


if __name__ == "__main__":
    main()
