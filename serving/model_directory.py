"""Where an exported model's versions lie: `DIR/NAME/<version>/saved_model.pb`."""

from pathlib import Path

from tf_crossdistil.errors import CrossDistilError

EXPORT_HINT = "export a model there with `crossdistil export --run RUN --to DIR/NAME`"


def newest_version(model_directory: Path) -> Path:
    """The folder of the highest numeric version of a model, as TF Serving chooses it.

    Raises:
        CrossDistilError: there is no such directory, no version in it, or no SavedModel in the newest version.
    """
    if not model_directory.is_dir():
        raise CrossDistilError(f"{model_directory} is no directory; {EXPORT_HINT}")
    versions = [child for child in model_directory.iterdir() if child.is_dir() and child.name.isdecimal()]
    if not versions:
        raise CrossDistilError(f"{model_directory} has no version, which is a folder with a number as its name; {EXPORT_HINT}")
    newest = max(versions, key=lambda child: int(child.name))
    if not (newest / "saved_model.pb").is_file():
        raise CrossDistilError(f"{newest} has no saved_model.pb, so it is no exported model; remove it, or {EXPORT_HINT}")
    return newest
