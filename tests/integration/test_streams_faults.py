"""The transport while the server is emptied, stopped, killed, restarted or paused under it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from metawsm.bus.ports import Delivery, Message, Publication, Subscription
from metawsm.domain.errors import Unavailable
from metawsm.streams.transport import RedisTransport
from tests.support.eventually import eventually
from tests.support.redis_servers import ServerHandle

pytest_plugins = ("tests.support.redis_fixtures",)

Connect = Callable[..., RedisTransport]
Start = Callable[..., ServerHandle]

READS = [Subscription("commands", "g"), Subscription("more", "g")]


def on(topic: str, uuid: str, entry_id: str = "*") -> Publication:
    """A publication of a message with that uuid."""
    return Publication(topic, Message(uuid, {"name": "forum.test"}, b"{}"), entry_id)


class Listening:
    """A thread that waits in `listen` until something comes, noting deliveries and errors."""

    def __init__(self, transport: RedisTransport, reads: Sequence[Subscription]) -> None:
        self.found: list[Delivery] = []
        self.errors: list[Exception] = []
        self._transport, self._reads = transport, reads
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self.found and not self.errors:
            try:
                self.found.extend(self._transport.listen(self._reads, 2))
            except Unavailable as error:
                self.errors.append(error)

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()


def blocked(broker: ServerHandle) -> Callable[[], bool]:
    """A probe: somebody waits in a blocking read."""
    return lambda: int(broker.client().info("clients")["blocked_clients"]) > 0


@pytest.mark.parametrize("deed", ["FLUSHALL", "DEL commands more", "XGROUP DESTROY commands g"])
def test_emptied_while_reading(broker: ServerHandle, connect: Connect, deed: str) -> None:
    """Streams or groups that vanish are made anew in the same exchange, and the caller is told which."""
    created: list[Subscription] = []
    transport = connect(on_created=created.extend)
    transport.ensure(READS)
    broker.client().execute_command(*deed.split())  # type: ignore[no-untyped-call]
    answer = transport.exchange([on("commands", "u1")], [], READS)
    assert answer.faults == [None]
    assert [delivery.message.uuid for delivery in answer.deliveries if delivery.message] == ["u1"]
    assert READS[0] in created
    assert broker.client().xinfo_groups("commands")[0]["name"] == b"g"


@pytest.mark.parametrize("deed", ["FLUSHALL", "DEL commands", "XGROUP DESTROY commands g"])
def test_emptied_while_blocked(broker: ServerHandle, connect: Connect, deed: str) -> None:
    """A listener whose stream is deleted or whose group is destroyed finds what comes next."""
    created: list[Subscription] = []
    transport = connect(on_created=created.extend)
    transport.ensure(READS)
    listening = Listening(transport, READS)
    eventually(blocked(broker))
    broker.client().execute_command(*deed.split())  # type: ignore[no-untyped-call]
    eventually(lambda: READS[0] in created)
    connect("other").exchange([on("commands", "u1")], [], [])
    listening.join()
    assert not listening.errors
    assert [delivery.message.uuid for delivery in listening.found if delivery.message] == ["u1"]


def test_pending_of_a_vanished_group_is_empty_and_the_group_is_back(broker: ServerHandle, connect: Connect) -> None:
    """Asking for what is pending after a FLUSHALL makes the group and tells so."""
    created: list[Subscription] = []
    transport = connect(on_created=created.extend)
    assert not transport.pending(READS[0])
    assert created == [READS[0]]


def test_a_paused_server_is_unavailable_and_a_repeat_harmless(broker: ServerHandle, connect: Connect) -> None:
    """A publish that timed out may have been written: with its fixed id a repeat leaves exactly one entry."""
    transport = connect(answer_seconds=0.5)
    transport.exchange([on("feed", "u1", "1-0")], [], [])
    broker.pause()
    started = time.monotonic()
    with pytest.raises(Unavailable, match="Timeout"):
        transport.exchange([on("feed", "u2", "2-0")], [], [])
    with pytest.raises(Unavailable, match="Timeout"):
        transport.server_facts()
    assert time.monotonic() - started < 3
    broker.resume()
    eventually(lambda: broker.client().xlen("feed") == 2)
    assert transport.exchange([on("feed", "u2", "2-0"), on("feed", "u3", "3-0")], [], []).faults == [None, None]
    assert broker.client().xlen("feed") == 3


def test_entries_delivered_into_a_lost_answer_are_pending(broker: ServerHandle, connect: Connect) -> None:
    """A read that timed out may have moved the group on: `pending` has the entries."""
    transport, read = connect(answer_seconds=0.5), READS[0]
    transport.ensure([read])
    transport.exchange([on("commands", "u1")], [], [])
    broker.pause()
    with pytest.raises(Unavailable):
        transport.exchange([], [], [read])
    broker.resume()
    eventually(lambda: int(broker.client().xpending("commands", "g")["pending"]) == 1)
    assert [delivery.message.uuid for delivery in transport.pending(read) if delivery.message] == ["u1"]


def test_restart_is_survived_by_the_same_transport(start_broker: Start) -> None:
    """Killed and started again on its append-only file: an error in between, then all is there and goes on."""
    broker = start_broker("--appendonly", "yes", "--appendfsync", "always")
    transport, read = RedisTransport(broker.url, "c"), READS[0]
    transport.ensure([read])
    transport.exchange([on("commands", f"u{number}") for number in range(5)], [], [read])
    broker.kill()
    with pytest.raises(Unavailable):
        transport.exchange([], [], [read])
    broker.start()
    assert len(transport.pending(read)) == 5
    assert len(transport.exchange([on("commands", "u5")], [], [read]).deliveries) == 1
    transport.close()


def test_broker_restarted_twice_under_publishers(start_broker: Start) -> None:
    """Publishers that repeat what failed, a subscriber that reads pending first: nothing is lost, whatever is cut."""
    broker = start_broker("--appendonly", "yes", "--appendfsync", "always")
    topics = [Subscription(f"p{number}", "g") for number in range(4)]
    reader = RedisTransport(broker.url, "reader")
    reader.ensure(topics)
    found: set[tuple[str, str]] = set()
    publishers = [threading.Thread(target=publish_stubbornly, args=(broker.url, read.topic, 250)) for read in topics]
    for thread in publishers:
        thread.start()
    for goal in (300, 600):
        eventually(partial(has_read, goal, reader, topics, found), timeout=20)
        broker.kill()
        broker.start()
    eventually(partial(has_read, 1000, reader, topics, found), timeout=20)
    assert len(found) == 1000
    for thread in publishers:
        thread.join()
    reader.close()


def publish_stubbornly(url: str, topic: str, count: int) -> None:
    """Publish `count` messages with fixed ids, each again until it is known to be there."""
    transport = RedisTransport(url, topic)
    for number in range(1, count + 1):
        eventually(partial(published, transport, on(topic, f"u{number}", f"{number}-0")), timeout=20)
    transport.close()


def published(transport: RedisTransport, publication: Publication) -> bool:
    """Whether the exchange went through without a fault."""
    return transport.exchange([publication], [], []).faults == [None]


def has_read(goal: int, transport: RedisTransport, reads: Sequence[Subscription], into: set[tuple[str, str]]) -> bool:
    """Collect pending and new entries of every topic without acknowledging; whether `goal` are known."""
    for read in reads:
        for delivery in [*transport.pending(read), *transport.exchange([], [], [read]).deliveries]:
            assert delivery.message
            into.add((delivery.topic, delivery.message.uuid))
    return len(into) >= goal


def test_closing_ends_a_listener(broker: ServerHandle, connect: Connect) -> None:
    """Whoever waits is told that the connection was closed, at once."""
    transport = connect()
    transport.ensure(READS)
    listening = Listening(transport, READS)
    eventually(blocked(broker))
    transport.close()
    listening.join()
    assert len(listening.errors) == 1


def test_a_listener_can_be_opened_again(connect: Connect) -> None:
    """After a close another transport of the same consumer goes on where the first stopped."""
    first = connect()
    first.ensure(READS)
    first.exchange([on("commands", "u1")], [], [])
    assert len(first.listen(READS, 1)) == 1
    first.close()
    with pytest.raises(Unavailable, match="closed"):
        first.exchange([], [], READS)
    second = connect()
    second.exchange([on("commands", "u2")], [], [])
    assert [delivery.message.uuid for delivery in second.listen(READS, 1) if delivery.message] == ["u2"]


def test_nobody_there_is_unavailable_at_once() -> None:
    """A refused connection is one clear error per call, without retries, and names the address without password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        transport = RedisTransport(f"redis://:secret@127.0.0.1:{free.getsockname()[1]}/0", "c")
    started = time.monotonic()
    for call in (transport.server_facts, lambda: transport.exchange([], [], READS), lambda: transport.listen(READS, 5)):
        with pytest.raises(Unavailable, match=r"redis://:\*\*\*@127\.0\.0\.1:\d+/0: .*refused") as caught:
            call()
        assert "secret" not in caught.value.message
    assert time.monotonic() - started < 1


def test_an_answer_cut_in_the_middle_is_unavailable(tmp_path: Path) -> None:
    """A connection that ends inside a reply is an error, and the next call starts on a new connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        cutter = threading.Thread(target=cut_answers, args=(listener, 2))
        cutter.start()
        transport = RedisTransport(f"unix://{tmp_path / 's'}", "c")
        for _ in range(2):
            with pytest.raises(Unavailable, match="closed by server"):
                transport.exchange([on("feed", "u1", "1-0")], [], [])
        cutter.join()
        transport.close()


def cut_answers(listener: socket.socket, times: int) -> None:
    """Accept, greet, and hang up inside the answer to the transaction."""
    for _ in range(times):
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(b"+OK\r\n")
            client.recv(65536)
            client.sendall(b"+OK\r\n+QUEUED\r\n*1\r\n$300\r\nhalf")


def test_killed_and_competing_greenlets_leave_the_transport_usable(broker: ServerHandle) -> None:
    """Under gevent: readers killed in the middle of a read and callers that take turns never mix up replies."""
    script = """
import gevent.monkey; gevent.monkey.patch_all()
import gevent, sys
from metawsm.streams.transport import RedisTransport
from metawsm.bus.ports import *
transport = RedisTransport(sys.argv[1], "c")
reads = [Subscription(f"t{n}", "g") for n in range(8)]
transport.ensure(reads)
def work(read):
    for n in range(50):
        answer = transport.exchange([Publication(read.topic, Message(f"{read.topic}.{n}", {}, b""))], [], [read])
        assert [d.message.uuid for d in answer.deliveries] == [f"{read.topic}.{n}"], answer
workers = [gevent.spawn(work, read) for read in reads]
for n in range(20):
    doomed = gevent.spawn(transport.listen, [Subscription("idle", "g")], 10)
    sufferer = gevent.spawn(transport.pending, Subscription("idle", "g"))
    gevent.sleep(0.001 if n % 2 else 0)
    doomed.kill()
    sufferer.kill()
gevent.joinall(workers, raise_error=True, timeout=20)
print(sum(len(transport.pending(read)) for read in reads))
"""
    ran = subprocess.run([sys.executable, "-c", script, broker.url], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "400\n", ran.stderr
