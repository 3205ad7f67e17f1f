"""Reading a configuration file: YAML, overrides, and errors that name the place."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import UsageError


def load_config(path: str | Path, overrides: list[str] | None = None) -> Experiment:
    """Reads a configuration file, with overrides such as `training.epochs=3` whose values are YAML.

    Raises:
        UsageError: the file is missing, is not YAML, or does not describe an experiment.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}; give the path of a YAML file") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold keys such as name, tasks and features; received {type(content).__name__}")
    for override in overrides or []:
        _apply_override(content, override)
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], origin: str) -> Experiment:
    """Validates the content of a configuration; `origin` is named in the error."""
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "configuration"
        message = first["msg"].removeprefix("Value error, ")
        received = "" if first["type"] == "value_error" else f"; received {first['input']!r}"
        raise UsageError(f"{origin}: {where}: {message}{received}") from error


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UsageError(f"--set needs KEY=VALUE such as training.epochs=3; received '{override}'")
    *parents, last = key.split(".")
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise UsageError(f"--set {override}: '{parent}' is not a section with keys")
    try:
        section[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"--set {override}: the value is not valid YAML") from error
