"""Opaque cursors: where a page ended, in a form that a client can only hand back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from metawsm.domain.errors import Malformed

_LONGEST = 1024
Part = int | str


def fingerprint(*question: Any) -> int:
    """A number for a question (filters, viewer, order): a cursor of another one must not be mixed in."""
    return crc32(repr(question).encode("utf-8", "surrogatepass"))


def encode(question: int, parts: Sequence[Part]) -> str:
    """The cursor of a place in the answer to the question with this fingerprint."""
    text = json.dumps([question, *parts], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def faulty(why: str) -> Malformed:
    """The error for a cursor that cannot be used."""
    return Malformed(f"the cursor {why}", fields={"cursor": [why]})


def decode(cursor: str, question: int, kinds: Sequence[type]) -> tuple[Any, ...]:
    """The parts of a cursor, of these kinds. Raises Malformed unless `encode` made it for this question."""
    values = _values(cursor)
    good = (
        isinstance(values, list)
        and len(values) == len(kinds) + 1
        and all(type(value) is kind for value, kind in zip(values, (int, *kinds), strict=True))
        and all(map(_storable, values))
    )
    if not good:
        raise faulty("is not one that this program gave out; leave it out to begin anew")
    if values[0] != question:
        raise faulty("belongs to another query; leave it out when filters, viewer or order change")
    return tuple(values[1:])


def _storable(value: Part) -> bool:
    """Whether the database can take it: no number beyond its own, no half of a surrogate pair."""
    if isinstance(value, int):
        return 0 <= value < 2**63
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _values(cursor: str) -> Any:
    if len(cursor) > _LONGEST:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return None


def sequence(cursor: str | int | None) -> int:
    """A cursor that is a plain sequence, 0 by default. Raises Malformed."""
    text = str(cursor or 0)
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise faulty(f"must be a sequence, a whole number from 0 on, not {text[:40]!r}")
    return int(text)
