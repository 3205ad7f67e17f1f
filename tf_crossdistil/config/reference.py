# SPDX-License-Identifier: Apache-2.0
"""The reference of all keys as a Markdown page, from the types and descriptions of the sections.

python -m tf_crossdistil.config.reference > docs/configuration-reference.md
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tf_crossdistil.config.experiment import Experiment

Schema = Mapping[str, Any]

_HEAD = """\
# All keys of a configuration

Made by `python -m tf_crossdistil.config.reference` from the typed configuration. The guide, with examples, is
[configuration.md](configuration.md).
"""
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "`null`",
    "array": "list",
    "object": "mapping",
}
_FORMATS = {"path": "path", "date-time": "date or time"}
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "a multiple of {}",
    "minLength": "{} or more characters",
    "minItems": "{} or more",
    "maxItems": "{} or fewer",
    "pattern": "`{}`",
}


def reference() -> str:
    """The whole page: a table of keys, types, defaults, limits and meanings a section, in the order of the file."""
    schema = Experiment.model_json_schema()
    sections: dict[str, tuple[str, Schema]] = {"Experiment": ("The file", schema)}
    _find_sections(schema, "", schema["$defs"], sections)
    titles = {name: title for name, (title, _) in sections.items()}
    return "\n".join([_HEAD, *("\n".join(_section(*section, titles)) for section in sections.values())])


def _find_sections(schema: Schema, path: str, defined: Schema, found: dict[str, tuple[str, Schema]]) -> None:
    """Adds the sections that a section's keys hold to `found`, by name: the place in the file, and the schema."""
    for key, field in schema["properties"].items():
        names = [name for name in dict.fromkeys(_references(field)) if "properties" in defined[name]]
        place = f"{path}.{key}" if path else key
        for name in names:
            if name not in found:
                title = place if len(names) == 1 else f"{place} with {_sign(defined[name])}"
                found[name] = (title, defined[name])
                _find_sections(defined[name], place, defined, found)


def _references(schema: Any) -> Iterator[str]:
    """The names of the sections that may stand where a schema holds."""
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            yield _name(schema)
        for key in ("anyOf", "oneOf", "items", "additionalProperties"):
            yield from _references(schema.get(key))


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[-1]


def _sign(section: Schema) -> str:
    """What tells a section from others that may stand in its place: the key whose value is fixed, or else the first."""
    for key, field in section["properties"].items():
        if "const" in field:
            return f"{key}: {field['const']}"
    return str(next(iter(section["properties"])))


def _section(title: str, schema: Schema, titles: Mapping[str, str]) -> Iterator[str]:
    yield f"## {title}\n\n{schema['description']}\n"
    yield "| key | type | default | limits | meaning |\n| --- | --- | --- | --- | --- |"
    for key, field in schema["properties"].items():
        cells = (
            f"`{key}`",
            _type(field, titles),
            _default(field, key in schema.get("required", ())),
            ", ".join(_limits(field)),
            field["description"],
        )
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _type(schema: Schema, titles: Mapping[str, str]) -> str:
    options = schema.get("anyOf", schema.get("oneOf"))
    if options is not None:
        return " or ".join(_type(option, titles) for option in options if option.get("type") != "null")
    if "$ref" in schema:
        title = titles.get(_name(schema))
        return f"[{title}](#{_anchor(title)})" if title else "any value"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {_type(schema['prefixItems'][0], titles)}"
    if isinstance(held := schema.get("items", schema.get("additionalProperties")), dict):
        limits = ", ".join(_limits(held))
        of = f"{_type(held, titles)}{f' {limits}' if limits else ''}"
        return f"{'list' if 'items' in schema else 'mapping'}: {of}"
    return _FORMATS.get(schema.get("format", "")) or _TYPES.get(schema.get("type", ""), "any value")


def _anchor(title: str) -> str:
    """What a link to a heading is called: lower case, blanks as hyphens, no other signs."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _default(schema: Schema, required: bool) -> str:
    if required:
        return "required"
    default = schema["default"]
    if default is None or default in ({}, []):
        return ""
    if isinstance(default, dict):
        return "its defaults"
    if isinstance(default, list | bool):
        return f"`{json.dumps(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _limits(schema: Schema) -> Iterator[str]:
    """The limits of a value, or of the only option that is no null."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    fixed = "prefixItems" in options[0]
    if len(options) == 1 and not fixed:
        yield from (text.format(options[0][key]) for key, text in _LIMITS.items() if key in options[0])


if __name__ == "__main__":
    print(reference(), end="")
