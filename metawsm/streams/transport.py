"""The Transport port on Redis Streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis

from metawsm.bus.ports import Ack, Delivery, Exchange, Message, Publication, Subscription
from metawsm.domain.errors import Unavailable
from metawsm.streams import inspection, retention
from metawsm.streams.connection import ANSWER_SECONDS, SERVER_WIDE, Endpoint, endpoint, error_code, translated
from metawsm.streams.entries import deliveries, entries_of
from metawsm.streams.groups import Groups
from metawsm.streams.inspection import GroupInfo, ServerFacts, TopicInfo
from metawsm.streams.link import Aborted, Link, unfenced
from metawsm.streams.publishing import faults, publish_what_is_allowed
from metawsm.streams.resp import batches, pack, xack, xadds, xreadgroup

MISSING_GROUP = frozenset({"NOGROUP", "UNBLOCKED"})
"""Error codes that mean: the stream or the group is gone."""


def _ignore(created: Sequence[Subscription]) -> None:
    """The default for `on_created`."""


class RedisTransport:
    """Streams of one server, read as one consumer.

    `on_created` is called with the subscriptions whose group had to be made again while reading (an emptied server, a
    destroyed group): what was sent before may be gone. After Unavailable, and at start, call `pending` first: entries
    may have been delivered into a connection that broke. `fence` raises Unavailable when the streams are not ours to
    use; what only looks at them works all the same.
    """

    def __init__(
        self,
        url: str,
        consumer: str,
        on_created: Callable[[Sequence[Subscription]], None] = _ignore,
        fence: Callable[[], None] = unfenced,
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._server: Endpoint = endpoint(url, answer_seconds=answer_seconds)
        self._consumer = consumer.encode()
        self._on_created = on_created
        self._fence = fence
        self._link = Link(self._server, fence)
        self._listeners: dict[str, Link] = {}
        self._groups = Groups(self._link)

    @property
    def shown_url(self) -> str:
        """The server's url, passwords hidden."""
        return self._server.shown

    @property
    def sick_topics(self) -> Mapping[str, str]:
        """Streams that cannot be read now (for example a key of another type), with the server's reason."""
        return self._groups.sick

    def exchange(
        self, publications: Sequence[Publication], acks: Sequence[Ack], reads: Sequence[Subscription]
    ) -> Exchange:
        """Publish in order, acknowledge, then read what is new, without blocking, in one round trip.

        One MULTI/EXEC: a refusal for the whole server (memory) refuses every publication, so that a feed gets no
        hole. A fault is the server's text, code word first; `MISSING` and `TAKEN` are ours (an entry id below the top
        that is not there, or is another message), and `EXHAUSTED` (the stream has had the last possible id). A fault of
        one key leaves the others alone.
        """
        if not publications:
            return Exchange((), self._ack_and_read(acks, reads))
        split = batches(self._groups.healthy(reads))
        commands = [*xadds(publications), *map(xack, acks), *(xreadgroup(self._consumer, each) for each in split)]
        replies = self._link.transaction(commands)
        if isinstance(replies, Aborted):
            told = publish_what_is_allowed(self._link, publications, replies)
            return Exchange(told, self._ack_and_read(acks, reads))
        told = faults(self._link, publications, replies[: len(publications)])
        return Exchange(told, self._delivered(split, replies[len(publications) + len(acks) :]))

    def listen(self, reads: Sequence[Subscription], block_seconds: float) -> Sequence[Delivery]:
        """Wait on a connection of its own until something is new (or the time is over) and return it.

        All `reads` belong to one group (a blocking read knows only one); each group waits on its own connection.
        """
        split = batches(self._groups.healthy(reads))
        if not split:
            raise Unavailable(f"redis at {self.shown_url}: no stream can be read: {dict(self.sick_topics)}")
        if len(split) > 1:
            raise ValueError("one listen reads through one group, with one count and noack")
        group = split[0][0].group
        if group not in self._listeners:
            self._listeners[group] = Link(self._server, self._fence)
        command = xreadgroup(self._consumer, split[0], block_ms=max(1, int(block_seconds * 1000)))
        (reply,) = self._listeners[group].pipeline([command], wait_seconds=block_seconds)
        if isinstance(reply, redis.ResponseError):
            return self._repaired(split[0])
        return deliveries(group, reply)

    def pending(self, read: Subscription, after: str = "0") -> Sequence[Delivery]:
        """This consumer's own delivered and not acknowledged entries, oldest first, after the entry id `after`."""
        (reply,) = self._link.pipeline([xreadgroup(self._consumer, [read], after=after.encode())])
        if not isinstance(reply, redis.ResponseError):
            return deliveries(read.group, reply)
        if error_code(reply) in MISSING_GROUP:
            self._ensure_and_tell([read])
        else:
            self._groups.mark_sick(read.topic, reply)
        return []

    def claim_idle(self, read: Subscription, idle_seconds: float) -> Sequence[Delivery]:
        """Take over entries that other consumers of the group have left lying for so long, and return them.

        Pending entries whose body is gone come as trimmed ones; the server has dropped them already.
        """
        parts = [read.topic, read.group, self._consumer.decode(), str(int(idle_seconds * 1000)), "0", "COUNT"]
        (reply,) = self._link.pipeline([pack(b"XAUTOCLAIM", *map(str.encode, parts), b"%d" % read.count)])
        if isinstance(reply, redis.ResponseError):
            if error_code(reply) not in MISSING_GROUP:
                self._groups.mark_sick(read.topic, reply)
            return []
        gone = [Delivery(read.topic, read.group, entry_id.decode(), trimmed=True) for entry_id in reply[2]]
        return [*entries_of(read.topic, read.group, reply[1]), *gone]

    def ensure(self, reads: Sequence[Subscription]) -> Sequence[Subscription]:
        """Create missing streams and groups (from the beginning); return those that had to be created."""
        return self._groups.ensure(reads)

    def ensure_streams(self, topics: Sequence[str]) -> None:
        """Create missing streams that have no group of ours, so that other programs find them from the start."""
        self._groups.ensure_streams(topics)

    def empty(self, topics: Sequence[str], newest: str) -> None:
        """Remove all entries of streams, so that any entry id can be written again: ids only go up.

        Groups, those of other programs too, stay: each gets again what it had not acknowledged, and what comes after
        the entry id `newest` if it was further. A key of another type holds none of them, and is left alone.
        """
        self._fence()
        with translated(self.shown_url):
            for topic in topics:
                try:
                    retention.empty(self._server.client, topic, newest)
                except redis.ResponseError as error:
                    if error_code(error) != "WRONGTYPE":
                        raise

    def rewind(self, read: Subscription) -> None:
        """Let a group read its stream from the beginning; what is not acknowledged stays so."""
        with translated(self.shown_url):
            self._server.client.xgroup_setid(read.topic, read.group, "0")

    def last_entry_id(self, topic: str) -> str:
        """The id of the last entry ever added (`0-0` for an empty or missing stream).

        Raises Unavailable; a stream that refuses it by itself is among `sick_topics` then.
        """
        with translated(self.shown_url):
            try:
                return inspection.last_generated_id(self._server.client, topic)
            except redis.ResponseError as error:
                if error_code(error) not in SERVER_WIDE:
                    self._groups.mark_sick(topic, error)
                raise

    def last_message(self, topic: str) -> Message | None:
        """The message that the stream ends with; None where there is none that can be read. Raises Unavailable."""
        (reply,) = self._link.pipeline([pack(b"XREVRANGE", topic.encode(), b"+", b"-", b"COUNT", b"1")])
        if isinstance(reply, redis.ResponseError):
            return None
        return next((entry.message for entry in entries_of(topic, "", reply)), None)

    def server_facts(self) -> ServerFacts:
        """What matters of the server's state and configuration."""
        with translated(self.shown_url):
            return inspection.server_facts(self._server.client)

    def inspect(self, subscriptions: Sequence[Subscription]) -> list[TopicInfo]:
        """Look at each stream and group."""
        with translated(self.shown_url):
            return [inspection.topic_info(self._server.client, each) for each in subscriptions]

    def foreign_groups(self, topic: str, own_prefix: str) -> list[GroupInfo]:
        """The stream's groups that are neither `own_prefix` nor `own_prefix.<something>`."""
        with translated(self.shown_url):
            found = inspection.groups(self._server.client, topic)
        return [group for group in found if not group.belongs_to(own_prefix)]

    def trim(self, topic: str, own_prefix: str, min_id: str | None = None, max_len: int | None = None) -> int:
        """Remove old entries, never one that a group of ours has not been delivered and acknowledged.

        Entries below `min_id` go, then the oldest above `max_len`. Foreign groups do not hold the trim. Returns how
        many were removed; at most 200,000 for their number, so call again.
        """
        self._fence()
        with translated(self.shown_url):
            return retention.trim(self._server.client, topic, own_prefix, min_id, max_len)

    def close(self) -> None:
        """Close all connections; whoever waits in `listen` gets Unavailable."""
        for link in (self._link, *self._listeners.values()):
            link.close()
        self._server.close()

    def _ack_and_read(self, acks: Sequence[Ack], reads: Sequence[Subscription]) -> list[Delivery]:
        """Without publications there is nothing to refuse as a whole: a plain pipeline."""
        split = batches(self._groups.healthy(reads))
        commands = [*map(xack, acks), *(xreadgroup(self._consumer, each) for each in split)]
        if not commands:
            return []
        return self._delivered(split, self._link.pipeline(commands)[len(acks) :])

    def _delivered(self, split: Sequence[Sequence[Subscription]], replies: Sequence[Any]) -> list[Delivery]:
        found: list[Delivery] = []
        for each, reply in zip(split, replies, strict=True):
            if isinstance(reply, redis.ResponseError):
                found += self._repaired(each)
            else:
                found += deliveries(each[0].group, reply, each[0].blind)
        return found

    def _repaired(self, reads: Sequence[Subscription]) -> list[Delivery]:
        """A read over several streams fails whole: make what is missing, then read each stream alone, once.

        What still cannot be read is sick and left out for a while.
        """
        self._ensure_and_tell(reads)
        rest = self._groups.healthy(reads)
        replies = self._link.pipeline([xreadgroup(self._consumer, [read]) for read in rest])
        found: list[Delivery] = []
        for read, reply in zip(rest, replies, strict=True):
            if not isinstance(reply, redis.ResponseError):
                found += deliveries(read.group, reply)
            elif error_code(reply) not in MISSING_GROUP:
                self._groups.mark_sick(read.topic, reply)
        return found

    def _ensure_and_tell(self, reads: Sequence[Subscription]) -> list[Subscription]:
        created = self._groups.ensure(reads)
        if created:
            self._on_created(created)
        return created
