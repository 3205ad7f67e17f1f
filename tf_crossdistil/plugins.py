# SPDX-License-Identifier: Apache-2.0
"""What a configuration names: an entry of a registry, or the user's own as `package.module:Name`."""

import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

from tf_crossdistil.errors import UsageError
from tf_crossdistil.suggest import did_you_mean

Plugin = TypeVar("Plugin")


def find_plugin(key: str, name: str, registry: Mapping[str, Plugin], base: type | None = None) -> Plugin:
    """The entry of a registry called `name`, or the user's own.

    Args:
        key: the configuration's key, for errors, such as `model.backbone`.
        name: of the entry, or `package.module:Name`.
        registry: the entries by name.
        base: what the user's own must be a subclass of; None for a function.

    Raises:
        UsageError: there is none, with the nearest name; or it cannot be imported, or is something else.
    """
    if ":" in name:
        found = _imported(key, name)
        fits = callable(found) if base is None else isinstance(found, type) and issubclass(found, base)
        if not fits:
            expected = "function" if base is None else f"subclass of {base.__module__}.{base.__qualname__}"
            raise UsageError(f"{key}: '{name}' is no {expected}; received {found!r}")
        return found
    if name not in registry:
        raise UsageError(f"{key}: there is no '{name}'; {did_you_mean(name, registry)}")
    return registry[name]


def _imported(key: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        # The user's own code may fail in any way.
        raise UsageError(
            f"{key}: '{name}' cannot be imported: {type(error).__name__}: {error}; give package.module:Name, with its folder "
            "on PYTHONPATH"
        ) from error
