"""The part of JSON Schema that our documents use, so that real messages can be held against them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
KNOWN = {
    "$ref", "type", "enum", "const", "oneOf", "properties", "required", "additionalProperties", "items", "minimum",
    "maximum", "minLength", "maxLength", "maxItems", "pattern", "description", "default", "format",
}  # fmt: skip


def faults(schema: Mapping[str, Any], value: Any, document: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """What is wrong with `value`. Stricter than the standard: a member that the schema does not describe is a fault."""
    assert set(schema) <= KNOWN, f"{sorted(set(schema) - KNOWN)} is not checked here"
    if "$ref" in schema:
        yield from faults(resolve(schema["$ref"], document), value, document, at)
        return
    if "oneOf" in schema:
        yield from _one_of(schema["oneOf"], value, document, at)
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if value not in schema.get("enum", [value]):
        yield f"{at}: {value!r} is not one of {schema['enum']}"
    if not _has_type(schema, value):
        yield f"{at}: {value!r} is not {schema['type']}"
    else:
        yield from _members(schema, value, document, at)


def _members(schema: Mapping[str, Any], value: Any, document: Mapping[str, Any], at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _object(schema, value, document, at)
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{at}: more than {schema['maxItems']} items"
        for index, item in enumerate(value):
            yield from faults(schema["items"], item, document, f"{at}[{index}]")
    elif isinstance(value, str):
        yield from _string(schema, value, at)
    elif isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of range"


def resolve(reference: str, document: Mapping[str, Any]) -> Any:
    """What a reference inside the document points to. Raises KeyError."""
    place: Any = document
    for name in reference.removeprefix("#/").split("/"):
        place = place[name]
    return place


def _has_type(schema: Mapping[str, Any], value: Any) -> bool:
    wanted = schema.get("type")
    if wanted is None:
        return True
    names = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, TYPES[name]) for name in names)


def _one_of(schemas: Any, value: Any, document: Mapping[str, Any], at: str) -> Iterator[str]:
    tried = [list(faults(schema, value, document, at)) for schema in schemas]
    if [] not in tried:
        yield f"{at}: fits none of {len(tried)} forms; nearest: {min(tried, key=len)}"


def _object(schema: Mapping[str, Any], value: dict[str, Any], document: Mapping[str, Any], at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties", "properties" not in schema and "oneOf" not in schema)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}: {name} is missing"
    for name, member in value.items():
        if name in properties:
            yield from faults(properties[name], member, document, f"{at}.{name}")
        elif isinstance(more, dict):
            yield from faults(more, member, document, f"{at}.{name}")
        elif not more and "oneOf" not in schema:
            yield f"{at}: {name} is not described"


def _string(schema: Mapping[str, Any], value: str, at: str) -> Iterator[str]:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{at}: {len(value)} characters"
    if not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value!r} does not match {schema['pattern']}"
    if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}(-\d\d){2}T\d\d(:\d\d){2}\.\d{6}Z", value):
        yield f"{at}: {value!r} is no time"
