# SPDX-License-Identifier: Apache-2.0
"""Exports in no time: what TensorFlow writes and checks is taken from a version that was really exported."""

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

from tf_crossdistil.export import publish
from tf_crossdistil.models.run import Run

DIFFERENCE = 3e-8
CARDS = {"model_card.json", "MODEL_CARD.md"}


def without_tensorflow(monkeypatch, version: Path) -> None:
    """Lets `export` copy a version, file by file, in the place of tracing, saving and asking a model."""

    class Copied:
        student_variables = ("kernel", "bias")

        def __init__(self, *arguments):
            pass

        def save(self, directory):
            for path in model_files(version):
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(version / path, directory / path)
                time.sleep(0.002)

    monkeypatch.setattr(publish, "ServedModel", Copied)
    monkeypatch.setattr(publish, "write_warm_up", lambda *arguments: None)
    monkeypatch.setattr(publish, "check_answers", lambda *arguments: DIFFERENCE)
    monkeypatch.setattr(Run, "load", lambda run, epoch: SimpleNamespace(network=None))


def model_files(version: Path) -> list[Path]:
    """All files of a version but the model card's, relative to it."""
    files = [path.relative_to(version) for path in sorted(version.rglob("*")) if path.is_file()]
    return [path for path in files if path.name not in CARDS]


def is_whole(version: Path, reference: Path) -> bool:
    """Whether a version has every file of another, as large as there, and a model card."""
    try:
        return all((version / name).is_file() for name in CARDS) and all(
            (version / path).stat().st_size == (reference / path).stat().st_size for path in model_files(reference)
        )
    except FileNotFoundError:
        return False


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir())
