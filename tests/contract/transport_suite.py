"""What every Transport must do: the core of the properties that a pub/sub has to have, on one shared group.

A test class derives from TransportSuite and provides the fixture `connect`: connect(consumer) -> Transport.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from metawsm.bus.ports import Ack, Delivery, Message, Publication, Subscription, Transport
from tests.support.eventually import eventually

Connect = Callable[[str], Transport]


def message(number: int, key: str = "k") -> Message:
    """A message that tells its number and key, with text that is not plain ASCII."""
    metadata = {"name": "forum.test", "message_key": key, "accent": "é 線"}
    return Message(f"uuid-{key}-{number}", metadata, f'{{"number": {number}}}'.encode())


def publish(transport: Transport, topic: str, messages: Iterable[Message]) -> None:
    """Publish all, none refused."""
    publications = [Publication(topic, each) for each in messages]
    assert not any(transport.exchange(publications, [], []).faults)


def publish_singly(transport: Transport, topic: str, key: str, count: int) -> None:
    """Publish `count` messages of one key, each in an exchange of its own."""
    for number in range(count):
        publish(transport, topic, [message(number, key)])


def uuids(deliveries: Iterable[Delivery]) -> list[str]:
    """The messages' uuids, in order."""
    return [delivery.message.uuid for delivery in deliveries if delivery.message]


def acks(deliveries: Iterable[Delivery]) -> list[Ack]:
    """Acknowledgements for all of them."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for delivery in deliveries:
        found[delivery.topic, delivery.group].append(delivery.entry_id)
    return [Ack(topic, group, entry_ids) for (topic, group), entry_ids in found.items()]


def read_all(transport: Transport, reads: Sequence[Subscription]) -> list[Delivery]:
    """Read and acknowledge until nothing is left."""
    found: list[Delivery] = []
    while fresh := transport.exchange([], [], reads).deliveries:
        found += fresh
        transport.exchange([], acks(fresh), [])
    return found


def consume(transport: Transport, reads: Sequence[Subscription], into: list[str], stop: threading.Event) -> None:
    """Listen and acknowledge until told to stop, noting the uuids."""
    while not stop.is_set():
        fresh = transport.listen(reads, 0.05)
        into.extend(uuids(fresh))
        transport.exchange([], acks(fresh), [])


class TransportSuite:
    """The properties. Topics are new in each test, so that one server may serve them all."""

    def test_messages_arrive_intact(self, connect: Connect) -> None:
        """What is published is delivered: uuid, metadata and payload, once, in order."""
        transport, read = connect("one"), Subscription("intact", "g")
        transport.ensure([read])
        sent = [message(number) for number in range(300)]
        publish(transport, "intact", sent)
        assert [delivery.message for delivery in read_all(transport, [read])] == sent

    def test_published_and_read_in_one_exchange(self, connect: Connect) -> None:
        """An exchange delivers what it has just published."""
        transport, read = connect("one"), Subscription("same", "g")
        transport.ensure([read])
        answer = transport.exchange([Publication("same", message(1))], [], [read])
        assert answer.faults == [None]
        assert uuids(answer.deliveries) == ["uuid-k-1"]

    def test_many_topics_at_once(self, connect: Connect) -> None:
        """Twenty topics in one read: each delivers its own and nothing else."""
        transport = connect("one")
        reads = [Subscription(f"many-{number}", "g") for number in range(20)]
        transport.ensure(reads)
        mixed = [Publication(f"many-{number % 20}", message(number)) for number in range(200)]
        transport.exchange(mixed, [], [])
        found = read_all(transport, reads)
        for read in reads:
            sent = [publication.message for publication in mixed if publication.topic == read.topic]
            assert [delivery.message for delivery in found if delivery.topic == read.topic] == sent

    def test_resent_until_acknowledged(self, connect: Connect) -> None:
        """What is not acknowledged stays pending and is read again, also by a new connection of the consumer."""
        first, read = connect("one"), Subscription("resend", "g")
        first.ensure([read])
        publish(first, "resend", [message(number) for number in range(10)])
        delivered = first.exchange([], [], [read]).deliveries
        first.exchange([], acks(delivered[:4]), [])
        again = connect("one")
        assert uuids(again.pending(read)) == uuids(delivered[4:])
        assert uuids(again.pending(read, after=delivered[6].entry_id)) == uuids(delivered[7:])
        again.exchange([], acks(delivered[4:]), [])
        assert not again.pending(read)
        assert not again.exchange([], [], [read]).deliveries

    def test_without_acks_nothing_stays_pending(self, connect: Connect) -> None:
        """A subscription with noack delivers once and forgets."""
        transport, read = connect("one"), Subscription("noack", "g", noack=True)
        transport.ensure([read])
        publish(transport, "noack", [message(1)])
        assert len(transport.exchange([], [], [read]).deliveries) == 1
        assert not transport.pending(read)

    def test_two_groups_get_everything(self, connect: Connect) -> None:
        """Each group has its own place in the stream."""
        transport = connect("one")
        reads = [Subscription("groups", "g1"), Subscription("groups", "g2", noack=True)]
        transport.ensure(reads)
        publish(transport, "groups", [message(number) for number in range(50)])
        found = read_all(transport, reads)
        for group in ("g1", "g2"):
            mine = [delivery for delivery in found if delivery.group == group]
            assert uuids(mine) == [f"uuid-k-{number}" for number in range(50)]

    def test_new_group_gets_the_history(self, connect: Connect) -> None:
        """A group that is made late starts at the beginning."""
        transport = connect("one")
        publish(transport, "history", [message(number) for number in range(20)])
        late = Subscription("history", "late")
        assert transport.ensure([late]) == [late]
        assert not transport.ensure([late])
        assert len(read_all(transport, [late])) == 20

    def test_order_per_key(self, connect: Connect) -> None:
        """One consumer gets the messages of each key in the order of publication."""
        transport, read = connect("one"), Subscription("order", "g", count=64)
        transport.ensure([read])
        keys = [f"key{number}" for number in range(16)]
        sent = [message(number, keys[number % 16]) for number in range(1000)]
        for start in range(0, 1000, 100):
            publish(transport, "order", sent[start : start + 100])
        found = [delivery.message for delivery in read_all(transport, [read]) if delivery.message]
        for key in keys:
            assert [each for each in found if each.metadata["message_key"] == key] == [
                each for each in sent if each.metadata["message_key"] == key
            ]

    def test_topics_are_isolated(self, connect: Connect) -> None:
        """What goes to one topic is not seen on another."""
        transport = connect("one")
        here, there = Subscription("here", "g"), Subscription("there", "g")
        transport.ensure([here, there])
        publish(transport, "here", [message(1)])
        assert not transport.exchange([], [], [there]).deliveries
        assert transport.last_entry_id("there") == "0-0"

    def test_the_last_message_is_shown_to_whoever_asks(self, connect: Connect) -> None:
        """Nothing is taken by it; there is none in an empty stream, and none where there is no stream."""
        transport, read = connect("one"), Subscription("ending", "g")
        assert transport.last_message("ending") is None
        transport.ensure([read])
        assert transport.last_message("ending") is None
        publish(transport, "ending", [message(1), message(2)])
        assert transport.last_message("ending") == message(2)
        assert len(transport.exchange([], [], [read]).deliveries) == 2

    def test_listen_wakes_and_times_out(self, connect: Connect) -> None:
        """A listener returns nothing when the time is over, and at once when something comes."""
        transport, read = connect("one"), Subscription("wake", "g")
        transport.ensure([read])
        assert not transport.listen([read], 0.05)
        found: list[Delivery] = []
        waiting = threading.Thread(target=lambda: found.extend(transport.listen([read], 10)))
        waiting.start()
        publish(connect("two"), "wake", [message(1)])
        waiting.join(timeout=5)
        assert uuids(found) == ["uuid-k-1"]

    def test_competing_consumers_share_the_work(self, connect: Connect) -> None:
        """Eight publishers, four consumers of one group: every message to exactly one of them."""
        read = Subscription("share", "g", count=16)
        connect("setup").ensure([read])
        found: list[str] = []
        stop = threading.Event()
        consumers = [
            threading.Thread(target=consume, args=(connect(f"c{number}"), [read], found, stop)) for number in range(4)
        ]
        publishers = [
            threading.Thread(target=publish_singly, args=(connect(f"p{number}"), "share", f"p{number}", 100))
            for number in range(8)
        ]
        for thread in (*consumers, *publishers):
            thread.start()
        for thread in publishers:
            thread.join()
        eventually(lambda: len(found) >= 800, timeout=15)
        stop.set()
        for thread in consumers:
            thread.join()
        assert sorted(found) == sorted(f"uuid-p{publisher}-{number}" for publisher in range(8) for number in range(100))

    def test_closed_and_reopened_subscribers_miss_nothing(self, connect: Connect) -> None:
        """Twenty consumers that leave in the middle of their work: the next one finds what was left and goes on."""
        read = Subscription("reopen", "g", count=40)
        first = connect("one")
        first.ensure([read])
        publish(first, "reopen", [message(number) for number in range(1000)])
        done: list[str] = []
        for _ in range(20):
            transport = connect("one")
            fresh = [*transport.pending(read), *transport.exchange([], [], [read]).deliveries]
            done += uuids(fresh[: len(fresh) // 2])
            transport.exchange([], acks(fresh[: len(fresh) // 2]), [])
        last = connect("one")
        while left := last.pending(read):
            done += uuids(left)
            last.exchange([], acks(left), [])
        done += uuids(read_all(last, [read]))
        assert done == list(dict.fromkeys(done))
        assert set(done) == {f"uuid-k-{number}" for number in range(1000)}
