"""Names, ids and texts: the grammar of section 1 of the contract."""

from __future__ import annotations

import re

import pytest

from metawsm.domain import ids, names


@pytest.mark.parametrize("good", ["M", "MET-1", "a.b_c-d", "9", "x" * 64])
def test_good_names(good: str) -> None:
    """Letters, digits, dot, underscore and dash, up to 64."""
    assert names.name_fault(good) is None


@pytest.mark.parametrize("bad", ["", ".a", "-a", "_a", "a b", "a/b", "ä", "x" * 65, "a\n", "a\x00"])
def test_bad_names(bad: str) -> None:
    """Whatever could hurt in a path, a branch or a query is refused."""
    assert names.name_fault(bad)


@pytest.mark.parametrize(
    ("thread_id", "good"),
    [("fthr-a", True), ("fthr-" + "a" * 60, True), ("fthr-", False), ("fthr-A", False), ("fthr-" + "a" * 61, False),
     ("fctrl-a", False), ("fthr-a\n", False)],
)  # fmt: skip
def test_thread_ids_of_clients(thread_id: str, good: bool) -> None:
    """`fthr-` and 1 to 60 of a-z, 0-9 and dash."""
    assert (names.thread_id_fault(thread_id) is None) == good


def test_texts_that_cannot_be_stored_exactly() -> None:
    """NUL and lone surrogates are refused, all else is text."""
    assert names.text_fault("a\x00")
    assert names.text_fault("\ud800")
    assert names.text_fault("\x01 \u202e 🙂 ' OR 1=1 --") is None


def test_control_thread_ids() -> None:
    """Slugs of run and agent; a further attempt has a number; a name without any letter still gives an id."""
    assert names.control_thread_id("Run.1", "Bob_B") == "fctrl-run-1-bob-b"
    assert names.control_thread_id("r", "b", 2) == "fctrl-r-b-2"
    assert names.slug("...") == "x"


def test_ids_are_uuid_version_7() -> None:
    """Behind the prefix stands a UUIDv7: time first, version and variant in their places, the rest chance."""
    made = ids.prefixed("fevt", 0x0123456789AB, b"\xff" * 10)
    assert made == "fevt-01234567-89ab-7fff-bfff-ffffffffffff"
    assert re.fullmatch(r"fevt-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made)
    assert ids.prefixed("x", 1, b"\0" * 10) < ids.prefixed("x", 2, b"\0" * 10)
    assert ids.post_id(made) == f"{made}.post"
