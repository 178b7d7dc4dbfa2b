"""What became of publications: the server's replies turned into faults, and doubtful entry ids looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from metawsm.bus.ports import Publication
from metawsm.streams.connection import error_text
from metawsm.streams.entries import id_key, pairs
from metawsm.streams.link import Aborted, Link
from metawsm.streams.resp import pack, xadd
from metawsm.streams.wire import UUID

_PUBLISHED = frozenset({bytes})  # the type of the entry id that a good XADD is answered with
TAKEN = "equal or smaller than the target stream top item"
EXHAUSTED = "exhausted the last possible ID"


def faults(link: Link, publications: Sequence[Publication], replies: Sequence[Any]) -> list[str | None]:
    """Return per publication None (it is in its stream) or the fault, code word first.

    An id that is not above the stream's top was published before, or it came too late: the entry itself tells.
    """
    if _PUBLISHED.issuperset(map(type, replies)):
        return [None] * len(replies)
    found = [_fault(reply) if isinstance(reply, redis.ResponseError) else None for reply in replies]
    doubtful = [index for index, fault in enumerate(found) if fault is not None and TAKEN in fault]
    if doubtful:
        settled = _look_up(link, [publications[index] for index in doubtful])
        for index, fault in zip(doubtful, settled, strict=True):
            found[index] = fault
    return found


def _fault(error: redis.ResponseError) -> str:
    text = error_text(error)
    return text.replace("ERR", "EXHAUSTED", 1) if EXHAUSTED in text else text


def publish_what_is_allowed(link: Link, publications: Sequence[Publication], aborted: Aborted) -> list[str | None]:
    """After a refused transaction: publish the rest without what was refused, again all or nothing.

    Out of memory refuses everything, so that no later entry overtakes one that was refused.
    """
    if aborted.out_of_memory:
        return [f"OOM {_without_code(aborted)}"] * len(publications)
    found = [error_text(refusal) if refusal else None for refusal in aborted.refusals[: len(publications)]]
    rest = [index for index, fault in enumerate(found) if fault is None]
    again = link.transaction([xadd(publications[index]) for index in rest]) if rest else []
    if isinstance(again, Aborted):
        late = [error_text(again.reason)] * len(rest)
    else:
        late = faults(link, [publications[index] for index in rest], again)  # type: ignore[assignment]
    for index, fault in zip(rest, late, strict=True):
        found[index] = fault
    return found


def _without_code(aborted: Aborted) -> str:
    refusal = next((refusal for refusal in aborted.refusals if refusal is not None), aborted.reason)
    return str(refusal)


def _look_up(link: Link, doubtful: Sequence[Publication]) -> list[str | None]:
    """Ask for each entry and for the state of its stream, in one round trip."""
    commands: list[bytes] = []
    for publication in doubtful:
        topic, entry_id = publication.topic.encode(), publication.entry_id.encode()
        commands += (pack(b"XRANGE", topic, entry_id, entry_id), pack(b"XINFO", b"STREAM", topic))
    replies = link.pipeline(commands)
    return [_verdict(*each) for each in zip(doubtful, replies[::2], replies[1::2], strict=True)]


def _verdict(publication: Publication, entry: Any, stream: Any) -> str | None:
    """Decide about one id that the stream did not take.

    A missing entry below the stream's first one, where entries have been removed, is taken as trimmed: nobody who
    reads from now on could tell the difference, and it can never be written again.
    """
    for reply in (entry, stream):
        if isinstance(reply, redis.ResponseError):
            return error_text(reply)
    name, facts = f"{publication.topic} {publication.entry_id}", pairs(stream)
    if entry:
        uuid = pairs(entry[0][1]).get(UUID, b"").decode(errors="replace")
        same = uuid == publication.message.uuid
        return None if same else f"TAKEN entry {name} is another message: {uuid}, not {publication.message.uuid}"
    top = facts[b"last-generated-id"].decode()
    return None if _trimmed(publication.entry_id, facts) else f"MISSING entry {name} is not there and the top is {top}"


def _trimmed(entry_id: str, stream: Any) -> bool:
    if stream[b"entries-added"] == stream[b"length"]:
        return False
    first = stream[b"first-entry"]
    return not first or id_key(entry_id) < id_key(first[0].decode())
