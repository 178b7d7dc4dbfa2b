"""Commands as bytes. Packed by hand because redis-py's own packing and pipeline cost half of a small round trip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metawsm.bus.ports import Ack, Message, Publication, Subscription
from metawsm.streams.wire import METADATA, PAYLOAD, UUID, encode

MULTI = b"*1\r\n$5\r\nMULTI\r\n"
EXEC = b"*1\r\n$4\r\nEXEC\r\n"

FIELDS = (UUID, METADATA, PAYLOAD)

# The most frequent command as one format: key, id, then each field's fixed name and its value.
PART = b"$%d\r\n%b\r\n"
XADD = b"*9\r\n$4\r\nXADD\r\n" + PART * 2 + b"".join([PART % (len(name), name) + PART for name in FIELDS])


def pack(*parts: bytes) -> bytes:
    """Return one command in the protocol's array form."""
    return b"*%d\r\n" % len(parts) + b"".join([PART % (len(part), part) for part in parts])


def xadd(publication: Publication) -> bytes:
    """Append a message to its stream (which is made when missing)."""
    return _xadd(publication, *_fields(publication.message))


def xadds(publications: Sequence[Publication]) -> list[bytes]:
    """`xadd` of each; a message that goes to several streams in a row is written down once."""
    commands: list[bytes] = []
    message: Message | None = None
    fields = (b"",) * len(FIELDS)
    for each in publications:
        if each.message is not message:
            message = each.message
            fields = _fields(message)
        commands.append(_xadd(each, *fields))
    return commands


def _fields(message: Message) -> tuple[bytes, ...]:
    values = encode(message)
    return values[UUID], values[METADATA], values[PAYLOAD]


def _xadd(publication: Publication, uuid: bytes, metadata: bytes, payload: bytes) -> bytes:
    key, entry = publication.topic.encode(), publication.entry_id.encode()
    return XADD % (
        len(key), key, len(entry), entry, len(uuid), uuid, len(metadata), metadata, len(payload), payload
    )  # fmt: skip


def xack(ack: Ack) -> bytes:
    """Acknowledge entries."""
    return pack(b"XACK", ack.topic.encode(), ack.group.encode(), *map(str.encode, ack.entry_ids))


def xreadgroup(consumer: bytes, reads: Sequence[Subscription], after: bytes = b">", block_ms: int = 0) -> bytes:
    """Read several streams of one group (see `batches`). `after` is `>` for new entries, an id for own pending ones.

    `block_ms` 0 does not wait. The server's "wait for ever" cannot be asked for.
    """
    first = reads[0]
    parts = [b"XREADGROUP", b"GROUP", first.group.encode(), consumer, b"COUNT", b"%d" % first.count]
    if block_ms:
        parts += (b"BLOCK", b"%d" % block_ms)
    if first.noack:
        parts.append(b"NOACK")
    parts.append(b"STREAMS")
    parts += [read.topic.encode() for read in reads]
    return pack(*parts, *[after] * len(reads))


def batches(reads: Iterable[Subscription]) -> list[list[Subscription]]:
    """Split `reads` into what one XREADGROUP can carry: the same group, count and noack (and blindness)."""
    found: dict[tuple[str, int, bool, bool], list[Subscription]] = {}
    for read in reads:
        found.setdefault((read.group, read.count, read.noack, read.blind), []).append(read)
    return list(found.values())
