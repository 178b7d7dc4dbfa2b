"""JSON text read and written the quick way is what Python's own module makes of it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metawsm.messages.json_text import from_json, to_json

# Every string that Python can hold, halves of characters too, and whole numbers far beyond 64 bits.
ATOMS = st.none() | st.booleans() | st.text(st.characters(exclude_categories=())) | st.integers(-(2**70), 2**70)
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def compact(value: Any) -> str:
    """The text as Python's own module writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(VALUES)
def test_written_alike(value: Any) -> None:
    """The same text, character by character."""
    assert to_json(value) == compact(value)


@given(VALUES | st.dictionaries(st.text(), ATOMS | NUMBERS), st.booleans())
def test_read_alike(value: Any, ascii_only: bool) -> None:
    """The same value of the same type, from text with and without escapes, and from bytes."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert repr(from_json(text)) == repr(json.loads(text))
    if ascii_only:
        assert repr(from_json(text.encode())) == repr(json.loads(text))


@given(st.dictionaries(st.text(), NUMBERS))
def test_written_floats_are_read_back(value: Any) -> None:
    """The one thing that may look different: 1e16 for 1e+16. It is the same number."""
    assert json.loads(to_json(value)) == value


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 01}', "\ufeff{}", '{"a": "\\ud800}', "[" * 100_000, '{"a":' * 100_000, "nul"]
)
def test_refused_alike(text: str) -> None:
    """What is no JSON raises the same error with the same words."""
    with pytest.raises((ValueError, RecursionError)) as plain:
        json.loads(text)
    with pytest.raises(plain.type) as quick:
        from_json(text)
    assert str(quick.value) == str(plain.value)


def test_what_only_python_reads() -> None:
    """Not a number, infinity and half a character are values for Python, so they are here."""
    read = from_json('{"a": NaN, "b": -Infinity, "c": "\\ud800"}')
    assert math.isnan(read["a"])
    assert (read["b"], read["c"]) == (-math.inf, "\ud800")
