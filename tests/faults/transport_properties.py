"""The sixteen properties of a transport that carries work, on one shared group per subscription.

A test class derives from HandlingProperties (what one consumer process has to keep) or from TransportProperties (all
sixteen, with competing consumers), and provides the fixture `medium`: the small adapter below. Delivery is at least
once, so what is compared is each note's first success, and that none is missing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest
from attrs import asdict, frozen

from metawsm.domain.errors import Unavailable
from tests.support.eventually import eventually


@frozen(order=True)
class Note:
    """A message: the key it must keep its order in, its number, and how its handler fares.

    The handler fails `fails` times in a process, and as long as the file `until` is named and missing.
    """

    key: str
    number: int
    text: str = "é 線 \u2028"
    fails: int = 0
    until: str = ""

    @property
    def uuid(self) -> str:
        """The message's identity."""
        return f"{self.key}-{self.number}"

    def to_json(self) -> str:
        """The written form."""
        return json.dumps(asdict(self))

    def is_ready(self, attempt: int) -> bool:
        """Whether its handler succeeds at this attempt (from 1)."""
        return attempt > self.fails and (not self.until or Path(self.until).exists())


@frozen
class Attempt:
    """A handler's call: where the note came from, and whether it was acknowledged."""

    topic: str
    note: Note
    done: bool


class Publisher(Protocol):
    """Puts notes on topics."""

    def publish(self, topic: str, notes: Sequence[Note]) -> None:
        """All are stored when it returns. Raises Unavailable: then each may be stored or not."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class Subscriber(Protocol):
    """A consumer at work, from its making to `close`."""

    def attempts(self) -> list[Attempt]:
        """Every call of the handler so far, in order."""
        ...

    def close(self) -> None:
        """Leave: no handler is called any more when it returns, and what was not acknowledged is not lost."""
        ...


class Medium(Protocol):
    """A transport on a real server, as the properties see it."""

    def publisher(self) -> Publisher:
        """Another publisher."""
        ...

    def subscribe(
        self, topics: Sequence[str], group: str = "shared", name: str = "", broken: bool = False
    ) -> Subscriber:
        """A consumer of a group, by a name of its own unless one is given; a `broken` one's handler always fails."""
        ...

    def unacknowledged(self, topic: str) -> int:
        """How many messages of a topic were delivered and not acknowledged."""
        ...

    def restart(self, kill: bool) -> None:
        """End the server, in order or by force, and start it again on its data."""
        ...


def notes(count: int, key: str = "fthr-k", start: int = 0) -> list[Note]:
    """Notes of one key."""
    return [Note(key, number) for number in range(start, start + count)]


def successes(*subscribers: Subscriber) -> list[tuple[str, Note]]:
    """(topic, note) of each first success, in each subscriber's order."""
    told = [(each.topic, each.note) for one in subscribers for each in one.attempts() if each.done]
    return list(dict.fromkeys(told))


def await_all(sent: Iterable[tuple[str, Note]], *subscribers: Subscriber, timeout: float = 60) -> None:
    """Wait until everything sent has been handled, and see that nothing else was."""
    wanted = set(sent)
    with suppress(AssertionError):
        eventually(lambda: set(successes(*subscribers)) >= wanted, timeout=timeout, interval=0.05)
    missing = wanted - set(successes(*subscribers))
    assert not missing, f"{len(missing)} of {len(wanted)} were not handled, such as {min(missing)}"
    strays = set(successes(*subscribers)) - wanted
    assert not strays, strays


def publish_singly(medium: Medium, topic: str, sent: Sequence[Note], tries: list[bool] | None = None) -> None:
    """Publish one by one, each again until the server has it; `tries` is told whether each try succeeded."""
    publisher = medium.publisher()
    for note in sent:
        while not _try_to_publish(publisher, topic, note, [] if tries is None else tries):
            time.sleep(0.02)
    publisher.close()


def _try_to_publish(publisher: Publisher, topic: str, note: Note, tries: list[bool]) -> bool:
    try:
        publisher.publish(topic, [note])
    except Unavailable:
        tries.append(False)
        return False
    tries.append(True)
    return True


def in_threads(jobs: Iterable[Callable[[], object]]) -> list[threading.Thread]:
    """Start each job in a thread of its own."""
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def join(threads: Iterable[threading.Thread]) -> None:
    """Wait for their ends."""
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


class HandlingProperties:
    """What a consumer process has to keep, whatever its handlers do."""

    def test_published_is_handled_intact(self, medium: Medium) -> None:
        """Property 1: what is published arrives, as it was, in order."""
        subscriber, sent = medium.subscribe(["plain"]), notes(100)
        medium.publisher().publish("plain", sent)
        await_all([("plain", note) for note in sent], subscriber)
        assert [note for _, note in successes(subscriber)] == sent

    def test_twenty_topics_at_once(self, medium: Medium) -> None:
        """Property 3: one consumer serves twenty topics."""
        topics = [f"many_{number}" for number in range(20)]
        subscriber, publisher = medium.subscribe(topics), medium.publisher()
        sent = [(topic, note) for topic in topics for note in notes(10, f"fthr-{topic.replace('_', '-')}")]
        for topic, note in sent:
            publisher.publish(topic, [note])
        await_all(sent, subscriber)

    def test_sent_again_after_a_failure(self, medium: Medium) -> None:
        """Property 4: a message whose handler fails comes again, until it is acknowledged."""
        subscriber = medium.subscribe(["resend"])
        sent = [Note(f"fthr-k{number}", number, fails=2 if number % 3 == 0 else 0) for number in range(30)]
        medium.publisher().publish("resend", sent)
        await_all([("resend", note) for note in sent], subscriber)
        failed = [each.note.number for each in subscriber.attempts() if not each.done]
        assert {number for number in failed if failed.count(number) >= 2} == {n for n in range(30) if n % 3 == 0}

    def test_no_next_message_before_the_ack(self, medium: Medium, tmp_path: Path) -> None:
        """Property 5: behind a message that fails its key waits, and no other key does."""
        gate = tmp_path / "gate"
        subscriber, publisher = medium.subscribe(["lanes"]), medium.publisher()
        held = [Note("fthr-held", 0, until=str(gate)), *notes(5, "fthr-held", 1)]
        publisher.publish("lanes", held)
        eventually(subscriber.attempts)
        free = notes(5, "fthr-free")
        publisher.publish("lanes", free)
        await_all([("lanes", note) for note in free], subscriber)
        assert {each.note.number for each in subscriber.attempts() if each.note.key == "fthr-held"} == {0}
        gate.touch()
        await_all([("lanes", note) for note in [*free, *held]], subscriber)
        assert [note for _, note in successes(subscriber) if note.key == "fthr-held"] == held

    def test_order_per_key(self, medium: Medium) -> None:
        """Property 9: 1,000 messages of 16 keys, some failing: each key's come in the order of publication."""
        subscriber, publisher = medium.subscribe(["order"]), medium.publisher()
        sent = [Note(f"fthr-k{number % 16}", number, fails=int(number % 97 == 0)) for number in range(1000)]
        for start in range(0, 1000, 100):
            publisher.publish("order", sent[start : start + 100])
        await_all([("order", note) for note in sent], subscriber)
        done = [note for _, note in successes(subscriber)]
        for key in {note.key for note in sent}:
            assert [note for note in done if note.key == key] == [note for note in sent if note.key == key]

    def test_topics_are_isolated(self, medium: Medium) -> None:
        """Property 11: what goes to one topic is not handled as another's."""
        subscriber, publisher = medium.subscribe(["here", "there"]), medium.publisher()
        publisher.publish("here", notes(20, "fthr-here"))
        publisher.publish("there", notes(20, "fthr-there"))
        sent = [(topic, note) for topic in ("here", "there") for note in notes(20, f"fthr-{topic}")]
        await_all(sent, subscriber)

    def test_cancellation_reaches_the_handler(self, medium: Medium, tmp_path: Path) -> None:
        """Property 12: closing does not wait for a handler that cannot end; its message is not lost."""
        gate = tmp_path / "gate"
        note = Note("fthr-k", 1, until=str(gate))
        first = medium.subscribe(["cancel"], name="one")
        medium.publisher().publish("cancel", [note])
        eventually(first.attempts, timeout=10)
        began = time.monotonic()
        first.close()
        assert time.monotonic() - began < 5
        calls = len(first.attempts())
        gate.touch()
        second = medium.subscribe(["cancel"], name="one")
        await_all([("cancel", note)], second)
        assert not successes(first) and len(first.attempts()) == calls

    def test_a_cancelled_subscription_can_be_opened_again(self, medium: Medium) -> None:
        """Property 13: closed before anything came, and opened again: it gets what came meanwhile and afterwards."""
        medium.subscribe(["again"], name="one").close()
        publisher = medium.publisher()
        publisher.publish("again", notes(10))
        subscriber = medium.subscribe(["again"], name="one")
        publisher.publish("again", notes(10, start=10))
        await_all([("again", note) for note in notes(20)], subscriber)

    @pytest.mark.faults
    def test_closed_and_reopened_twenty_times(self, medium: Medium) -> None:
        """Property 6: in a stream of 5,000 messages the consumer leaves and comes back 20 times; none is missing."""
        sent = notes(5000)
        first = medium.subscribe(["reopen"], name="one")
        publishing = in_threads([lambda: publish_singly(medium, "reopen", sent)])
        opened = [first]
        for count in range(1, 20):
            eventually(lambda count=count: len(successes(*opened)) >= count * 100, timeout=30)  # type: ignore[misc]
            opened[-1].close()
            opened.append(medium.subscribe(["reopen"], name="one"))
        join(publishing)
        await_all([("reopen", note) for note in sent], *opened)

    @pytest.mark.faults
    def test_the_broker_restarted_twice(self, medium: Medium) -> None:
        """Property 15: under 10,000 messages from 100 publishers the server is restarted in order and by force."""
        subscriber = medium.subscribe(["restart"])
        lots = [notes(100, f"fthr-p{number}") for number in range(100)]
        tries: list[bool] = []
        publishing = in_threads([lambda lot=lot: publish_singly(medium, "restart", lot, tries) for lot in lots])  # type: ignore[misc]
        for kill, share in ((False, 2000), (True, 6000)):
            eventually(lambda share=share: tries.count(True) >= share, timeout=60, interval=0.001)  # type: ignore[misc]
            before = tries.count(False)
            medium.restart(kill)
            assert tries.count(False) > before, "no publisher met the restart"
        join(publishing)
        await_all([("restart", note) for lot in lots for note in lot], subscriber, timeout=60)
        eventually(lambda: not medium.unacknowledged("restart"), timeout=20)  # what went down with the server, too


class TransportProperties(HandlingProperties):
    """And what many consumers of one group, or of several, can rely on."""

    @pytest.mark.faults
    def test_many_publishers_and_subscribers(self, medium: Medium) -> None:
        """Property 2: 5,000 messages from 50 publishers to 50 subscribers of one group; all take part, none is lost."""
        subscribers = [medium.subscribe(["crowd"]) for _ in range(50)]
        lots = [notes(100, f"fthr-p{number}") for number in range(50)]
        join(in_threads([lambda lot=lot: publish_singly(medium, "crowd", lot) for lot in lots]))  # type: ignore[misc]
        await_all([("crowd", note) for lot in lots for note in lot], *subscribers)
        assert sum(bool(each.attempts()) for each in subscribers) > 10

    def test_concurrent_open_and_close(self, medium: Medium) -> None:
        """Property 7: consumers come and go at the same time, from several threads; nothing is lost or stuck.

        Each message fails once with each consumer: those who leave leave something behind.
        """
        opened: list[Subscriber] = []
        sent: list[tuple[str, Note]] = []

        def come_and_go() -> None:
            for _ in range(20):
                guest = medium.subscribe(["doors"])
                opened.append(guest)
                time.sleep(0.02)
                guest.close()

        guests, publisher = in_threads([come_and_go] * 6), medium.publisher()
        while any(guest.is_alive() for guest in guests):
            sent.append(("doors", Note(f"fthr-k{len(sent)}", len(sent), fails=1)))
            publisher.publish("doors", [sent[-1][1]])
        join(guests)
        taken = {each.note for guest in opened for each in guest.attempts()}
        assert taken - {note for _, note in successes(*opened)}, "who left had finished everything"
        await_all(sent, *opened, medium.subscribe(["doors"]))

    def test_consumers_that_only_fail_then_leave(self, medium: Medium) -> None:
        """Property 8: what broken consumers took and never acknowledged goes to a sound one after they left."""
        broken = [medium.subscribe(["broken"], broken=True) for _ in range(3)]
        sent = [Note(f"fthr-k{number}", number) for number in range(100)]
        publish_singly(medium, "broken", sent)
        eventually(lambda: all(each.attempts() for each in broken), timeout=10)
        for each in broken:
            each.close()
        sound = medium.subscribe(["broken"])
        await_all([("broken", note) for note in sent], sound)
        assert not successes(*broken)

    @pytest.mark.faults
    def test_a_burst_around_a_publishers_close(self, medium: Medium) -> None:
        """Property 10: 10,000 messages, and the publisher closes right behind them: what it was told of is there."""
        subscriber = medium.subscribe(["burst"])
        sent = notes(10_000)
        publisher = medium.publisher()
        for start in range(0, len(sent), 500):
            publisher.publish("burst", sent[start : start + 500])
        publisher.close()
        with pytest.raises(Unavailable):
            publisher.publish("burst", notes(1, "fthr-late"))
        await_all([("burst", note) for note in sent], subscriber)

    def test_a_new_group_gets_the_history(self, medium: Medium) -> None:
        """Property 14: a group that is made late starts at the beginning."""
        medium.publisher().publish("history", notes(200))
        await_all([("history", note) for note in notes(200)], medium.subscribe(["history"], group="late"))

    def test_two_groups_each_get_everything(self, medium: Medium) -> None:
        """Property 16: groups do not take from each other."""
        one, two = (medium.subscribe(["groups"], group=group) for group in ("one", "two"))
        medium.publisher().publish("groups", notes(200))
        await_all([("groups", note) for note in notes(200)], one)
        await_all([("groups", note) for note in notes(200)], two)
