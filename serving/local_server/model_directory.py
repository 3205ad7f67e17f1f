# SPDX-License-Identifier: Apache-2.0
"""Where an exported model's versions lie: `DIR/NAME/<version>/saved_model.pb`."""

from pathlib import Path

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.model_versions import HIGHEST_VERSION, version_number

EXPORT_HINT = "export a model there with `crossdistil export --run RUN --to DIR/NAME`"


def version_folders(model_directory: Path) -> list[Path]:
    """The folders that have a version from 1 on as name, lowest first.

    Raises:
        OSError: the directory cannot be read.
    """
    folders = [child for child in model_directory.iterdir() if (version_number(child.name) or 0) >= 1 and child.is_dir()]
    return sorted(folders, key=lambda folder: int(folder.name))


def newest_version(model_directory: Path) -> Path:
    """The folder of the highest version that has a saved_model.pb; a higher one without it is still being copied.

    Raises:
        CrossDistilError: there is no such directory, no version in it, or no SavedModel in any version.
    """
    if not model_directory.is_dir():
        raise CrossDistilError(f"{model_directory} is no directory; {EXPORT_HINT}")
    versions = version_folders(model_directory)
    if not versions:
        raise CrossDistilError(
            f"{model_directory} has no version, which is a folder with a number from 1 to {HIGHEST_VERSION} as its name; "
            f"{EXPORT_HINT}"
        )
    complete = [version for version in versions if has_model(version)]
    if not complete:
        raise CrossDistilError(f"{versions[-1]} has no saved_model.pb, so it is no exported model; remove it, or {EXPORT_HINT}")
    return complete[-1]


def has_model(version: Path) -> bool:
    """Whether a version's folder has a SavedModel."""
    return (version / "saved_model.pb").is_file()


def content_of(version: Path) -> frozenset[tuple[str, int, int]]:
    """Name, size and time of change of each file below a folder: two answers differ where something was written between.

    Raises:
        OSError: a file went away meanwhile.
    """
    files = [file for file in version.rglob("*") if file.is_file()]
    return frozenset((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
