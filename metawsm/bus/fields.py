"""Rules of message fields as plain data, and the one reader that applies them.

A message is a frozen attrs class whose fields are made by the functions here; the same rules check a REST body, a
command from Redis and a flag of the command line, and describe the field in OpenAPI.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import attrs
from attrs import frozen

from metawsm.domain import names
from metawsm.domain.errors import InvalidFields

T = TypeVar("T")
RULE = "rule"
MOST_TOLD = 80
"""Characters of a faulty name that are told."""
MAX_SEQUENCE = 2**53 - 1  # what every JSON reader holds exactly


@frozen
class Rule:
    """What a field may hold. `max_bytes` counts UTF-8, `max_chars` characters; `about` is for people."""

    kind: str  # a key of _FAULTS
    about: str
    required: bool = False
    blank: bool = True
    choices: tuple[str, ...] = ()
    max_chars: int | None = None
    max_bytes: int | None = None
    max_items: int | None = None
    where: str = "body"  # body | path


Check = Callable[[Rule, Any], str | None]
Faults = dict[str, list[str]]


def text(about: str, *, required: bool = False, blank: bool | None = None, max_chars: int | None = None,
         max_bytes: int | None = names.BODY_LIMIT) -> Any:  # fmt: skip
    """Free text: any UTF-8 without NUL. A required text must not be blank unless `blank` says so."""
    may_be_blank = not required if blank is None else blank
    return _field(Rule("text", about, required, blank=may_be_blank, max_chars=max_chars, max_bytes=max_bytes))


def name(about: str, *, required: bool = False) -> Any:
    """A ticket, run, agent or repository name."""
    return _field(Rule("name", about, required))


def choice(about: str, choices: tuple[str, ...], *, required: bool = False, default: str | None = None) -> Any:
    """One of a few words."""
    return _field(Rule("choice", about, required, choices=choices), default)


def new_thread_id(about: str) -> Any:
    """A thread id that the client chooses for a new thread."""
    return _field(Rule("thread_id", about))


def integer(about: str, *, required: bool = False) -> Any:
    """A whole number from 0 to 2^53 - 1."""
    return _field(Rule("integer", about, required))


def json_object(about: str, *, required: bool = False) -> Any:
    """A JSON object whose members somebody else checks."""
    return _field(Rule("object", about, required))


def texts(about: str, *, max_items: int, max_chars: int) -> Any:
    """A short list of short texts."""
    return _field(Rule("texts", about, max_items=max_items, max_chars=max_chars), ())


def names_list(about: str, *, required: bool = False, max_items: int = 32) -> Any:
    """A short list of names (tickets, repositories, agents), none of them twice; a required one is not empty."""
    rule = Rule("names", about, required, max_items=max_items)
    return _field(rule, ())


def flag(about: str) -> Any:
    """Yes or no; no by default."""
    return _field(Rule("flag", about), False)


def in_path(about: str) -> Any:
    """A value that stands in the path of the route, never in the body."""
    return _field(Rule("text", about, required=True, where="path", max_bytes=256))


def _field(rule: Rule, default: Any = None) -> Any:
    return attrs.field(default=attrs.NOTHING if rule.required else default, kw_only=True, metadata={RULE: rule})


def split(values: Mapping[str, Any], *messages: type) -> list[Any]:
    """Read `values` into one instance of each of `messages`, whose fields do not overlap.

    Raises InvalidFields naming every missing, unknown and faulty field at once.
    """
    faults: Faults = {}
    read = [_read(_checks_of(message), values, faults) for message in messages]
    if sum(map(len, read)) < len(values):
        allowed = [n for message in messages for n in rules_of(message)]
        for unknown in (n for n in values if n not in allowed):
            faults[unknown] = [f"is not known; known are: {', '.join(allowed)}"]
    if faults:
        raise InvalidFields(f"faulty field(s): {', '.join(faults)}", fields=faults)
    return [message(**part) for message, part in zip(messages, read, strict=True)]


@cache
def rules_of(message: type) -> dict[str, Rule]:
    """The rules of a message's fields by name, in order."""
    return {a.name: a.metadata[RULE] for a in attrs.fields(message)}


@cache
def _checks_of(message: type) -> list[tuple[str, Rule, Check]]:
    return [(field_name, rule, _FAULTS[rule.kind]) for field_name, rule in rules_of(message).items()]


def _read(checks: Sequence[tuple[str, Rule, Check]], values: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for field_name, rule, fault_of in checks:
        value = values.get(field_name)
        if value is None:
            if rule.required:
                faults[field_name] = ["is required"]
            continue
        if fault := fault_of(rule, value):
            faults[field_name] = [fault]
        read[field_name] = tuple(value) if type(value) is list else value
    return read


def _name_fault(_: Rule, value: Any) -> str | None:
    return names.name_fault(value) if isinstance(value, str) else _NO_STRING


def _thread_id_fault(_: Rule, value: Any) -> str | None:
    return names.thread_id_fault(value) if isinstance(value, str) else _NO_STRING


def _choice_fault(rule: Rule, value: Any) -> str | None:
    if not isinstance(value, str):
        return _NO_STRING
    return None if value in rule.choices else f"must be one of: {', '.join(rule.choices)}"


def _text_fault(rule: Rule, value: Any) -> str | None:
    if not isinstance(value, str):
        return _NO_STRING
    if fault := names.text_fault(value):
        return fault
    if not rule.blank and not value.strip():
        return "must not be blank"
    if rule.max_chars is not None and len(value) > rule.max_chars:
        return f"must be at most {rule.max_chars} characters"
    if rule.max_bytes is not None and len(value) * 4 > rule.max_bytes and len(value.encode()) > rule.max_bytes:
        return f"must be at most {rule.max_bytes} bytes of UTF-8"
    return None


def _integer_fault(_: Rule, value: Any) -> str | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEQUENCE
    return None if good else "must be a whole number from 0 to 2^53 - 1"


def _object_fault(_: Rule, value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be a JSON object"


def _flag_fault(_: Rule, value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _names_fault(rule: Rule, value: Any) -> str | None:
    if fault := _texts_fault(rule, value):
        return fault
    if rule.required and not value:
        return "must have at least one item"
    for index, item in enumerate(value):
        if fault := names.name_fault(item):
            return f"item {index}, {item[:MOST_TOLD]!r}: {fault}"
    return "must not have an item twice" if len(set(value)) < len(value) else None


def _texts_fault(rule: Rule, value: Any) -> str | None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        return "must be a list of strings"
    if rule.max_items is not None and len(value) > rule.max_items:
        return f"must have at most {rule.max_items} items"
    one = Rule("text", "", blank=False, max_chars=rule.max_chars)
    for index, item in enumerate(value):
        if fault := _text_fault(one, item):
            return f"item {index}: {fault}"
    return None


_NO_STRING = "must be a string"
_FAULTS: dict[str, Check] = {
    "text": _text_fault,
    "name": _name_fault,
    "thread_id": _thread_id_fault,
    "choice": _choice_fault,
    "integer": _integer_fault,
    "object": _object_fault,
    "texts": _texts_fault,
    "names": _names_fault,
    "flag": _flag_fault,
}
"""What says what is wrong with a value, or None, for each kind of rule."""
