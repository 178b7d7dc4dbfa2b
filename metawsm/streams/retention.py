"""Trimming a stream without taking anything from a group of ours, and emptying one without losing its groups."""

from __future__ import annotations

import redis

from metawsm.streams import inspection
from metawsm.streams.entries import id_key
from metawsm.streams.inspection import GroupInfo

PORTION = 1000
"""Most entries that one look in the server walks over when the length is cut."""

MOST_PORTIONS = 200
"""After so many portions the next call goes on."""

# Cuts the oldest entries down to a length, but only below a barrier, atomically: counting first and trimming then
# would cut entries that nobody has read when many are added in between.
CUT_LENGTH = """
local excess = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2])
if excess <= 0 then return 0 end
local below = redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', math.min(excess, tonumber(ARGV[3])))
if #below == 0 then return 0 end
return redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', redis.call('XLEN', KEYS[1]) - #below)
"""

Id = tuple[int, int]

MOST_SECOND = 2**64 - 1
"""The highest second part of an entry id."""


def trim(client: redis.Redis, topic: str, own_prefix: str, min_id: str | None, max_len: int | None) -> int:
    """Remove entries below `min_id`, then the oldest above `max_len`, both below what our groups still need.

    The barrier is read first and only ever moves up, so what happens in between cannot make it wrong.
    """
    own = [group for group in inspection.groups(client, topic) if group.belongs_to(own_prefix)]
    barriers = [_needed_from(client, topic, group) for group in own]
    removed = 0
    if min_id is not None:
        lowest = min([*barriers, id_key(min_id)])
        removed += int(client.xtrim(topic, minid=_written(lowest), approximate=False))
    if max_len is not None:
        end = f"({_written(min(barriers))}" if barriers else "+"
        removed += _cut_length(client, topic, end, max_len)
    return removed


def _cut_length(client: redis.Redis, topic: str, end: str, max_len: int) -> int:
    """Cut in portions, between which the server answers others."""
    removed = 0
    for _ in range(MOST_PORTIONS):
        cut = int(client.eval(CUT_LENGTH, 1, topic, end, max_len, PORTION))
        removed += cut
        if cut < PORTION:
            break
    return removed


def empty(client: redis.Redis, topic: str, newest: str) -> None:
    """Remove every entry and the memory of the highest id; groups go back to what they had acknowledged.

    One transaction, so that no program finds its group missing.
    """
    found = inspection.groups(client, topic)
    groups = [(group.name, _read_upto(client, topic, group, id_key(newest))) for group in found]
    with client.pipeline(transaction=True) as together:
        together.unlink(topic)
        for name, position in groups:
            together.xgroup_create(topic, name, id=_written(position), mkstream=True)
        together.execute()


def _read_upto(client: redis.Redis, topic: str, group: GroupInfo, newest: Id) -> Id:
    """The id up to which the group surely has everything."""
    first, second = _needed_from(client, topic, group)
    before = (first, second - 1) if second else (max(first - 1, 0), MOST_SECOND)
    return min(before, newest)


def _needed_from(client: redis.Redis, topic: str, group: GroupInfo) -> Id:
    """Return the smallest id that the group may still ask for: its oldest pending one, else the next after the last."""
    oldest = inspection.oldest_pending_id(client, topic, group.name) if group.pending else ""
    if oldest:
        return id_key(oldest)
    first, second = id_key(group.last_delivered_id)
    return (first, second + 1) if second < MOST_SECOND else (min(first + 1, MOST_SECOND), 0)


def _written(entry_id: Id) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"
