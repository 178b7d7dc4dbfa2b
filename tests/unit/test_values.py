"""Values that are made for every request: cheap to make, and still values."""

from __future__ import annotations

from typing import Any

import pytest

from metawsm.domain.envelope import Actor, Envelope
from metawsm.domain.thread import Thread

HEAD = ("fevt-1", "forum.thread.opened", 1, "2026-01-01T00:00:00.000000Z", "MET-1", "agent", "fcmd-1")


def test_values_are_equal_and_hash_by_their_fields() -> None:
    """As with frozen classes of attrs: two with the same content are one member of a set."""
    assert {Envelope(*HEAD), Envelope(*HEAD)} == {Envelope(*HEAD)}
    assert Actor("agent", "a") != Actor("agent", "b")


@pytest.mark.parametrize("kind", [Actor, Envelope, Thread])
def test_values_have_slots_and_plain_assignments(kind: Any) -> None:
    """No dict for each instance and no detour for each field: that is what makes them cheap."""
    assert "__slots__" in vars(kind)
    assert kind.__setattr__ is object.__setattr__
