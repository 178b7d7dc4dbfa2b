"""Competing consumers on the Transport port, as any program that joins a group has to behave.

It reads its own pending entries first, keeps a key's order by leaving what is behind a failure pending, acknowledges
what succeeded, and takes over what consumers that left have not acknowledged.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Sequence

from metawsm.bus.ports import Ack, Delivery, Message, Publication, Subscription
from metawsm.domain.errors import Unavailable
from metawsm.streams.transport import RedisTransport
from tests.faults.transport_properties import Attempt, Note
from tests.support.redis_servers import ServerHandle

CLAIM_SECONDS = 1.0  # entries of others that lie so long are taken over
ANSWER_SECONDS = 2.0


class StreamPublisher:
    """Publishes notes with the transport."""

    def __init__(self, url: str) -> None:
        self._transport = RedisTransport(url, "publisher", answer_seconds=ANSWER_SECONDS)

    def publish(self, topic: str, notes: Sequence[Note]) -> None:
        """All in one exchange."""
        sent = [Publication(topic, Message(note.uuid, {"name": topic}, self.payload(topic, note))) for note in notes]
        faults = [fault for fault in self._transport.exchange(sent, [], []).faults if fault]
        if faults:
            raise Unavailable(faults[0])

    def payload(self, topic: str, note: Note) -> bytes:
        """The note as it travels."""
        return note.to_json().encode()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


class StreamSubscriber:
    """One consumer in a thread of its own."""

    def __init__(self, url: str, name: str, topics: Sequence[str], group: str, broken: bool) -> None:
        self._url, self._name, self._broken = url, name, broken
        self._reads = [Subscription(topic, group) for topic in topics]
        self._attempts: list[Attempt] = []
        self._calls: Counter[str] = Counter()
        self._cancelled = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._listening.wait(10)

    def attempts(self) -> list[Attempt]:
        """Every call of the handler so far."""
        return list(self._attempts)

    def close(self) -> None:
        """Cancel the handler and wait for the thread."""
        self._cancelled.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._cancelled.is_set():
            transport = RedisTransport(self._url, self._name, answer_seconds=ANSWER_SECONDS)
            try:
                transport.ensure(self._reads)
                self._serve(transport)
            except Unavailable:
                self._cancelled.wait(0.05)
            finally:
                transport.close()

    def _serve(self, transport: RedisTransport) -> None:
        left = True  # a former life may have left something
        while not self._cancelled.is_set():
            self._listening.set()
            if left:
                entries = [*self._pending(transport), *transport.exchange([], [], self._reads).deliveries]
            else:
                entries = [*transport.listen(self._reads, 0.1)] or self._claimed(transport)
            left = self._handle_all(transport, entries)

    def _pending(self, transport: RedisTransport) -> list[Delivery]:
        found: list[Delivery] = []
        for read in self._reads:
            after = "0"
            while page := transport.pending(read, after):
                found += page
                after = page[-1].entry_id
        return found

    def _claimed(self, transport: RedisTransport) -> list[Delivery]:
        return [entry for read in self._reads for entry in transport.claim_idle(read, CLAIM_SECONDS)]

    def _handle_all(self, transport: RedisTransport, entries: Sequence[Delivery]) -> bool:
        """Handle in order; whether anything is left."""
        held: set[str] = set()
        for entry in entries:
            note = Note(**json.loads(entry.message.payload)) if entry.message else None
            if note is None or (note.key not in held and self._handle(entry.topic, note)):
                transport.exchange([], [Ack(entry.topic, entry.group, [entry.entry_id])], [])
            else:
                held.add(note.key)
            if self._cancelled.is_set():
                return True
        if held:
            self._cancelled.wait(0.02)
        return bool(held)

    def _handle(self, topic: str, note: Note) -> bool:
        """The handler: True is an ack. One that cannot end waits until it is cancelled, for some time."""
        self._calls[note.uuid] += 1
        done = not self._broken and note.is_ready(self._calls[note.uuid])
        self._attempts.append(Attempt(topic, note, done))
        if not done and note.until:
            self._cancelled.wait(0.2)
        return done


def pending_count(broker: ServerHandle, stream: str) -> int:
    """Entries that a stream's groups were delivered and have not acknowledged."""
    with broker.client() as client:
        return sum(int(group["pending"]) for group in client.xinfo_groups(stream))


class StreamMedium:
    """The transport on a real server, with consumers of one shared group."""

    def __init__(self, broker: ServerHandle) -> None:
        self._broker = broker
        self._names = itertools.count()
        self._publishers: list[StreamPublisher] = []
        self._subscribers: list[StreamSubscriber] = []

    def publisher(self) -> StreamPublisher:
        """Another publisher."""
        self._publishers.append(StreamPublisher(self._broker.url))
        return self._publishers[-1]

    def subscribe(
        self, topics: Sequence[str], group: str = "shared", name: str = "", broken: bool = False
    ) -> StreamSubscriber:
        """A consumer that has begun to listen."""
        consumer = name or f"consumer-{next(self._names)}"
        self._subscribers.append(StreamSubscriber(self._broker.url, consumer, topics, group, broken))
        return self._subscribers[-1]

    def unacknowledged(self, topic: str) -> int:
        """As the groups of the stream count."""
        return pending_count(self._broker, topic)

    def restart(self, kill: bool) -> None:
        """A real restart on the append-only file."""
        if kill:
            self._broker.kill()
        else:
            self._broker.stop()
        self._broker.start()

    def close(self) -> None:
        """End everything that was opened."""
        for subscriber in self._subscribers:
            subscriber.close()
        for publisher in self._publishers:
            publisher.close()
