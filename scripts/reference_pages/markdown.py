"""Tables of Markdown, and schemas in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; `|` and line ends in cells are made harmless."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def kind(schema: Schema) -> str:
    """What a value is, in a few words."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{word}`" if word else "empty" for word in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind(schema['items'])}"
    if schema.get("type") == "object" and "properties" in schema:
        return "{" + ", ".join(f"{name}: {kind(member)}" for name, member in schema["properties"].items()) + "}"
    return _plain(schema)


def _plain(schema: Schema) -> str:
    if schema.get("format") == "date-time":
        return "time"
    name = schema.get("type", "any")
    word = {"string": "text", "boolean": "true/false", "integer": "whole number"}
    told = " or ".join(word.get(each, each) for each in ([name] if isinstance(name, str) else name))
    return told + _bounds(schema)


def _bounds(schema: Schema) -> str:
    if "maximum" in schema and schema["maximum"] < 2**53 - 1:
        return f", {schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema and "bytes" not in schema.get("description", ""):
        return f", at most {schema['maxLength']} characters"
    return ""


def anchor(title: str) -> str:
    """The anchor that a heading gets."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def members(schema: Schema) -> str:
    """A table of the members of an object."""
    required = schema.get("required", ())
    rows = (
        (f"`{name}`{'' if name in required else '?'}", kind(member), _told(member))
        for name, member in schema["properties"].items()
    )
    return table(("member", "value", "meaning"), rows)


def _told(member: Schema) -> str:
    told = member.get("description", "") if "$ref" not in member else ""
    if member.get("format") == "date-time":
        return ""
    return f"{told}{' ' if told else ''}(default `{member['default']}`)" if "default" in member else str(told)
