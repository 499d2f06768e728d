"""The JSON Schemas of a run's record and of a certification's, of the own types of each, and a check against them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE, CERTIFICATION = (Path(__file__).with_name(f"{name}.schema.json") for name in ("record", "certification"))
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}
KEYWORDS = {
    *("$schema", "$id", "$defs", "$ref", "title", "description", "type", "properties", "required"),
    *("additionalProperties", "items", "minItems", "maxItems", "enum", "minimum", "maximum", "oneOf"),
}
"""What `faults` understands: all that the published schemas use. Of `oneOf` a caller says which it is."""


@cache
def published(file: Path = FILE) -> dict[str, Any]:
    """A schema, as the package and docs/ have it (JSON Schema, draft 2020-12)."""
    return json.loads(file.read_text(encoding="utf-8"))


def faults(value: Any, schema: Mapping[str, Any] | None = None, where: str = "", *, file: Path = FILE) -> Iterator[str]:
    """One line for every place where a JSON value breaks a schema, by default the published one of `file`.

    >>> list(faults({"n": 0}, {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}))
    ['n is 0: expected at least 1']
    """
    schema = published(file) if schema is None else schema
    while "$ref" in schema:
        schema = published(file)["$defs"][schema["$ref"].rpartition("/")[2]]
    what = where or "the record"
    types = schema.get("type", [])
    names = [types] if isinstance(types, str) else types
    if names and not any(is_of(value, name) for name in names):
        yield f"{what} is {shown(value)}: expected {' or '.join(names)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{what} is {shown(value)}: expected one of {', '.join(map(json.dumps, schema['enum']))}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"{what} is {value:g}: expected at least {schema['minimum']:g}"
        if value > schema.get("maximum", value):
            yield f"{what} is {value:g}: expected at most {schema['maximum']:g}"
    elif isinstance(value, dict):
        yield from (f"{what} has no {name}" for name in schema.get("required", ()) if name not in value)
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
        for name, part in value.items():
            if name in known or rest:
                yield from faults(part, known.get(name, rest), f"{where}, {name}" if where else name, file=file)
    elif isinstance(value, list):
        least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
        if not least <= len(value) <= most:
            yield f"{what} has {len(value)} entries: expected {least if len(value) < least else most}"
        items = schema.get("items", {})
        if items == {"type": "number"} and all(type(part) is float for part in value):
            return
        for place, part in enumerate(value) if items else ():
            yield from faults(part, items, f"{where}, {place}" if where else str(place), file=file)


def is_of(value: Any, name: str) -> bool:
    """Whether a JSON value is of a type of JSON Schema: true is no number, 2.0 an integer, 1e999 neither."""
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        return False
    return isinstance(value, TYPES[name]) or (name == "integer" and isinstance(value, float) and value.is_integer())


def shown(value: Any) -> str:
    """A value in a sentence."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
