"""Streams and groups exist: making them, and keeping a sick stream from holding up its neighbours."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import redis

from metawsm.bus.ports import Subscription
from metawsm.streams.connection import error_code, error_text
from metawsm.streams.link import Link
from metawsm.streams.resp import pack

RETRY_SICK_SECONDS = 1.0
"""How long a stream that cannot be read is left alone before it is looked at again."""

PASSING = "metawsm-making-the-stream"
"""A group that exists for a moment only."""


class Groups:
    """Creates consumer groups and remembers the streams that cannot be read (a key of another type, no permission)."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._sick: dict[str, tuple[str, float]] = {}

    @property
    def sick(self) -> Mapping[str, str]:
        """Topics that are left out of reads now, with the server's reason."""
        return {topic: reason for topic, (reason, _) in self._sick.items()}

    def healthy(self, reads: Sequence[Subscription]) -> Sequence[Subscription]:
        """Return the reads without those of sick streams; a stream that was left alone long enough is tried again."""
        if not self._sick:
            return reads
        now = time.monotonic()
        self._sick = {topic: (why, until) for topic, (why, until) in self._sick.items() if until > now}
        return [read for read in reads if read.topic not in self._sick]

    def ensure(self, reads: Sequence[Subscription]) -> list[Subscription]:
        """Create what is missing, reading from the beginning; return what was created. Raises Unavailable.

        A stream that refuses its group is remembered as sick and skipped.
        """
        if not reads:
            return []
        replies = self._link.pipeline([_create(read) for read in reads])
        return [read for read, reply in zip(reads, replies, strict=True) if self._was_created(read, reply)]

    def ensure_streams(self, topics: Sequence[str]) -> None:
        """Create streams that nobody of ours reads, so that others find them. Raises Unavailable.

        There is no command for an empty stream: a group makes it and goes again.
        """
        commands: list[bytes] = []
        for topic in topics:
            commands += (_create(Subscription(topic, PASSING)), _destroy(Subscription(topic, PASSING)))
        self._link.pipeline(commands)

    def _was_created(self, read: Subscription, reply: object) -> bool:
        if not isinstance(reply, redis.ResponseError):
            self._sick.pop(read.topic, None)
            return True
        if error_code(reply) != "BUSYGROUP":
            self.mark_sick(read.topic, reply)
        return False

    def mark_sick(self, topic: str, error: redis.ResponseError) -> None:
        """Leave the stream out of reads for a while, because of `error`."""
        self._sick[topic] = (error_text(error), time.monotonic() + RETRY_SICK_SECONDS)


def _create(read: Subscription) -> bytes:
    return pack(b"XGROUP", b"CREATE", read.topic.encode(), read.group.encode(), b"0", b"MKSTREAM")


def _destroy(read: Subscription) -> bytes:
    return pack(b"XGROUP", b"DESTROY", read.topic.encode(), read.group.encode())
