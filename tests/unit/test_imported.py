"""Which commands of a Redis the daemon of an imported database passes over."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from metawsm.bus.ports import Delivery, Message
from metawsm.daemon.imported import PassedOver


def handed_on(imported_ms: int, delivery: Delivery) -> bool:
    """Whether it is handed on; if not, it must have been acked."""
    handed: list[Delivery] = []
    acked: list[Delivery] = []
    PassedOver(imported_ms, handed.append, acked.append).deliver(delivery)
    assert [*handed, *acked] == [delivery]
    return bool(handed)


def entry(ms: int, metadata: Mapping[str, str] | None = None) -> Delivery:
    """A command as it is read."""
    return Delivery("forum.commands.add_post", "g", f"{ms}-3", Message("u", metadata or {}, b"{}"))


@pytest.mark.parametrize(("ms", "handed"), [(999, False), (1000, False), (1001, True)])
def test_commands_from_before_the_import_are_passed_over(ms: int, handed: bool) -> None:
    """By the time in the entry's id; those of the millisecond in which it ended are old."""
    assert handed_on(1000, entry(ms)) is handed


def test_a_command_with_an_origin_is_never_passed_over() -> None:
    """Ours may have got an old id from a clock that went back; another database's is for a person to judge."""
    assert handed_on(1000, entry(5, {"origin": "db-1/1"}))


def test_an_entry_that_cannot_be_read_is_passed_over_by_its_age() -> None:
    """What theirs left malformed is as old as the rest."""
    assert not handed_on(1000, Delivery("t", "g", "7-0", fault="no payload"))
    assert handed_on(1000, Delivery("t", "g", "1007-0", fault="no payload"))


def test_without_an_import_nothing_is_passed_over() -> None:
    """Whatever clock the Redis has."""
    assert handed_on(0, entry(1))
