# SPDX-License-Identifier: Apache-2.0
"""Where two configurations differ."""

from typing import Any

from tf_crossdistil.config.section import Section


def first_difference(started: Section, asked: Section) -> tuple[str, Any, Any] | None:
    """The first setting that differs, such as `training.batch_size`, with both values; None where all are the same.

    Settings count that neither configuration wrote out, with their defaults. Parts of lists go by their names.
    """
    return _difference("", _settings(started), _settings(asked))


def _settings(value: Any) -> Any:
    if isinstance(value, Section):
        return {name: _settings(part) for name, part in value}
    return [_settings(part) for part in value] if isinstance(value, list) else value


def _difference(key: str, started: Any, asked: Any) -> tuple[str, Any, Any] | None:
    if started == asked:
        return None
    if isinstance(started, dict) and isinstance(asked, dict):
        for name in (name for name in started if name in asked):
            if inner := _difference(f"{key}.{name}".removeprefix("."), started[name], asked[name]):
                return inner
    if _are_named(started) and _are_named(asked):
        parts = [{part["name"]: part for part in each} for each in (started, asked)]
        if list(parts[0]) != list(parts[1]):
            return key, list(parts[0]), list(parts[1])
        return _difference(key, *parts)
    return key, started, asked


def _are_named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and "name" in part for part in value)
