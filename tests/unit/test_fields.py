"""The rules of message fields, and the one reader that names every fault at once."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen

from metawsm.bus import fields
from metawsm.domain.errors import InvalidFields


@frozen
class Sample:
    """A message with a field of every kind."""

    ticket: str = fields.name("t", required=True)
    body: str = fields.text("b", required=True)
    note: str | None = fields.text("n", max_chars=5)
    blank: str = fields.text("may be blank", required=True, blank=True)
    kind: str = fields.choice("k", ("a", "b"), default="a")
    thread_id: str | None = fields.new_thread_id("i")
    number: int | None = fields.integer("n")
    extra: dict[str, Any] | None = fields.json_object("o")
    options: tuple[str, ...] = fields.texts("l", max_items=2, max_chars=3)
    names: tuple[str, ...] = fields.names_list("n")


GOOD: dict[str, Any] = {"ticket": "MET-1", "body": "b", "blank": ""}
BAD: list[tuple[str, Any]] = [
    ("ticket", ""), ("ticket", 5), ("ticket", "a b"), ("body", " \n"), ("body", ["b"]), ("body", "\x00"),
    ("body", "\ud800"), ("body", "ä" * 32_769), ("note", "123456"), ("kind", "c"), ("kind", 1), ("thread_id", "x"),
    ("number", -1), ("number", 1.0), ("number", True), ("number", "1"), ("number", 2**53), ("extra", []),
    ("extra", "{}"), ("options", "abc"), ("options", ["a", "b", "c"]), ("options", ["long!"]), ("options", [" "]),
    ("options", [1]), ("names", ["a", "b c"]),
]  # fmt: skip


def test_a_faulty_name_in_a_list_is_told() -> None:
    """Which one it is, and how it reads, if it is not too long."""
    with pytest.raises(InvalidFields) as caught:
        fields.split(GOOD | {"names": ["a", "b c" + "x" * 100]}, Sample)
    (fault,) = caught.value.fields["names"]
    assert fault.startswith("item 1, 'b cxx") and "xx': must be 1 to 64 letters" in fault and len(fault) < 190


def test_what_is_right_is_read() -> None:
    """Values arrive as they are, defaults fill the rest, null is the same as absent."""
    (read,) = fields.split({**GOOD, "options": ["a"], "number": 0, "note": None}, Sample)
    assert read == Sample(**GOOD, options=("a",), number=0)
    assert (read.kind, read.note) == ("a", None)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_is_wrong_is_named(name: str, value: Any) -> None:
    """The one faulty field is named, and no other."""
    with pytest.raises(InvalidFields) as caught:
        fields.split({**GOOD, name: value}, Sample)
    assert set(caught.value.fields) == {name}


def test_every_fault_at_once() -> None:
    """Missing, unknown and wrong fields stand in one error."""
    with pytest.raises(InvalidFields) as caught:
        fields.split({"ticket": "a b", "colour": "red"}, Sample)
    assert set(caught.value.fields) == {"ticket", "body", "blank", "colour"}


def test_the_limit_counts_bytes_of_utf8() -> None:
    """64 KiB of two-byte letters are 32,768 letters."""
    (read,) = fields.split(GOOD | {"body": "ä" * 32_768}, Sample)
    assert len(read.body) == 32_768
