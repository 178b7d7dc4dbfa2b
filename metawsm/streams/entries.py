"""From raw replies to deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metawsm.bus.ports import Delivery
from metawsm.domain.errors import Undecodable
from metawsm.streams.wire import decode


def deliveries(group: str, reply: Sequence[Any] | None, blind: bool = False) -> list[Delivery]:
    """Return the entries in an XREADGROUP reply, in the order of the reply (grouped by stream).

    For a `blind` reader they come without their message.
    """
    found: list[Delivery] = []
    for topic, entries in reply or ():
        name = topic.decode()
        if blind:
            found += [Delivery(name, group, entry_id.decode()) for entry_id, _ in entries]
        else:
            found += entries_of(name, group, entries)
    return found


def entries_of(topic: str, group: str, entries: Sequence[Any]) -> list[Delivery]:
    """Return one stream's entries, given as the server does: [id, [field, value, ...]] each."""
    return [_delivery(topic, group, entry_id.decode(), flat) for entry_id, flat in entries]


def _delivery(topic: str, group: str, entry_id: str, flat: Sequence[bytes] | None) -> Delivery:
    """A pending entry whose body was trimmed or deleted comes without fields."""
    if not flat:
        return Delivery(topic, group, entry_id, trimmed=True)
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    try:
        return Delivery(topic, group, entry_id, decode(fields))
    except Undecodable as error:
        return Delivery(topic, group, entry_id, fault=error.message, raw=fields)


def pairs(flat: Sequence[Any]) -> Mapping[bytes, Any]:
    """Return a flat [name, value, ...] reply as a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def id_key(entry_id: str) -> tuple[int, int]:
    """Return an entry id in a form that compares as the server does."""
    first, _, second = entry_id.partition("-")
    return int(first), int(second or 0)
