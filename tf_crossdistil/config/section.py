# SPDX-License-Identifier: Apache-2.0
"""A part of a configuration file."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

from tf_crossdistil.suggest import did_you_mean


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors that name the nearest known key.

    `later`: keys that the first versions did not know. A section is written out without them where they have their default, so
    that what is known by its configuration, such as a prepared run or a search, is still known by it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    later: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(f"unknown key '{key}'; {did_you_mean(str(key), cls.model_fields)}")
        return data

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        return {key: value for key, value in content.items() if key not in self.later or has_own_value(self, key)}


def duplicates(names: list[str]) -> list[str]:
    """The names that occur more than once, in order."""
    return [name for position, name in enumerate(names) if name in names[:position]]


def has_own_value(section: Section, option: str) -> bool:
    """Whether an option differs from its default. A configuration that was written out has every option set."""
    return bool(getattr(section, option) != type(section).model_fields[option].default)
