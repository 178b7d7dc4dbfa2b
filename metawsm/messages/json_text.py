"""JSON text, quickly: orjson for what it reads and writes as Python's own module does, that module for the rest.

orjson refuses lone surrogates and deep nesting, and reads a whole number beyond 64 bits as a float. Such texts are
rare; they take the slow way, so that nobody can tell which way a text took.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any

import orjson

_PLAIN = frozenset({str, int, bool, NoneType})
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_json(value: Any) -> str:
    """Compact JSON text; keeps every character as it is."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return _ENCODE(value)


def from_json(text: str | bytes, exactly: Callable[[Any], Any] = json.loads) -> Any:
    """The value of a JSON text. `exactly` reads what is not plain; its errors pass (ValueError, RecursionError)."""
    try:
        value = orjson.loads(text)
    except ValueError:
        return _slowly(text, exactly)
    return value if type(value) is dict and _is_plain(value.values()) else _slowly(text, exactly)


def _slowly(text: str | bytes, exactly: Callable[[Any], Any]) -> Any:
    try:
        return exactly(text)
    except ValueError as error:
        if "int_max_str_digits" not in str(error):
            raise
        # Python's own words are for those who write Python
        raise ValueError(f"a number has more than {sys.get_int_max_str_digits()} digits") from None


def loosely(text: str) -> Any:
    """The value of a JSON text of our own whose numbers do not matter: a large one may come as a float."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


def _is_plain(members: Iterable[Any]) -> bool:
    """Whether there is nothing but texts and small numbers, in objects at most one below the other."""
    for each in members:
        kind = type(each)
        if kind not in _PLAIN and not (kind is dict and _PLAIN.issuperset(map(type, each.values()))):
            return False
    return True
