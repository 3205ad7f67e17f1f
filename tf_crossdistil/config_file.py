# SPDX-License-Identifier: Apache-2.0
"""Reading a configuration file: YAML, overrides, and errors that name the place."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

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
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}; mend it there") from error
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
        place, value = first["loc"], first["input"]
        where = ".".join(str(part) for part in place) or "configuration"
        message = first["msg"].removeprefix("Value error, ")
        received = "" if first["type"] == "value_error" else f"; received {value!r}"
        section = _section_at(place)
        if section is not None and first["type"] == "model_type":
            message = f"must be a section with keys {', '.join(section.model_fields)}"
            received += _meant(section, place, value)
        elif first["type"] == "literal_error" and (section := _section_at(place[:-1])) is not None:
            received += _meant(section, place[:-1], value)
        raise UsageError(f"{origin}: {where}: {message}{received}") from error


def _section_at(place: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section that a place of the configuration holds; None where it holds none, or may hold one of several."""
    section: type[BaseModel] = Experiment
    for part in place:
        # Numbers are places in lists, whose sections are all of one type.
        if isinstance(part, str):
            held = _sections_in(section.model_fields[part].annotation) if part in section.model_fields else set()
            if len(held) != 1:
                return None
            (section,) = held
    return section


def _sections_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {section for part in get_args(annotation) for section in _sections_in(part)}


def _meant(section: type[BaseModel], place: tuple[int | str, ...], value: Any) -> str:
    """Which keys of a section could have a value that stands where it cannot."""
    names = [name for name, field in section.model_fields.items() if _lists(field.annotation, value)]
    keys = [".".join(map(str, (*place, name))) for name in names]
    return f", which {' or '.join(keys)} could be" if keys else ""


def _lists(annotation: Any, value: Any) -> bool:
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    return any(_lists(part, value) for part in get_args(annotation))


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UsageError(f"--set needs KEY=VALUE such as training.epochs=3; received '{override}'")
    *parents, last = key.split(".")
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise UsageError(f"--set {override}: '{parent}' is not a section with keys; leave off what follows it")
    try:
        section[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(
            f"--set {override}: the value is not valid YAML; put it in quotes within those of the shell"
        ) from error
