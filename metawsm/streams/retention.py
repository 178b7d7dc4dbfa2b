"""Trimming a stream without taking anything from a group of ours."""

from __future__ import annotations

import redis

from metawsm.streams import inspection
from metawsm.streams.entries import id_key
from metawsm.streams.inspection import GroupInfo

PORTION = 1000
"""Most entries that one look in the server walks over when the length is cut."""

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
        removed += int(client.eval(CUT_LENGTH, 1, topic, end, max_len, PORTION))
    return removed


def _needed_from(client: redis.Redis, topic: str, group: GroupInfo) -> Id:
    """Return the smallest id that the group may still ask for: its oldest pending one, else the next after the last."""
    oldest = inspection.oldest_pending_id(client, topic, group.name) if group.pending else ""
    if oldest:
        return id_key(oldest)
    first, second = id_key(group.last_delivered_id)
    return first, second + 1


def _written(entry_id: Id) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"
