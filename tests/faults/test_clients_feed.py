"""Followers of the live stream that are cut off at any byte, and followers that stop reading."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from metawsm.client.feed import Feed
from metawsm.client.http import Client
from tests.support.cutting_proxy import CuttingProxy
from tests.support.daemon import Daemon, Reply
from tests.support.eventually import eventually
from tests.support.raw_ws import RawWs

STREAM = "/api/v1/forum/stream"
ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}
LARGE = "x" * 60_000  # twice that in a frame
QUESTIONS = 120  # with 17 large events between them: what a queue holds and half as much again


def ask(daemon: Daemon, **more: Any) -> Reply:
    """Open a thread, successfully."""
    reply = daemon.request("POST", "/forum/threads", ASK | more)
    assert reply.status == 201, reply.text
    return reply


def head(daemon: Daemon) -> int:
    """The newest sequence of the log, which is that of one more question."""
    sequence: int = ask(daemon).body["thread"]["last_event_sequence"]
    return sequence


@contextmanager
def events_flowing(daemon: Daemon) -> Iterator[None]:
    """Two clients write inside the block."""
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            ask(daemon)

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write) for _ in range(2)]
        try:
            yield
        finally:
            over.set()
    for writer in writers:
        writer.result()


class Follower:
    """Follows with bare sockets: comes back at once after each cut, with the cursor of the last whole frame."""

    def __init__(self, port: int) -> None:
        self.cursor = 0
        self.sequences: list[int] = []
        self._port = port

    def connect_once(self, enough: int | None = None) -> None:
        """Follow one connection to its end, or until the cursor has come to `enough`."""
        with (
            suppress(OSError, AssertionError),
            RawWs(self._port, f"{STREAM}?cursor={self.cursor}", Host="localhost") as wire,
        ):
            while enough is None or self.cursor < enough:
                self._take(json.loads(wire.receive_text()))

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] not in ("hello", "forum.events"):
            raise ValueError(frame)  # an AssertionError is only a cut
        self.sequences += [event["sequence"] for event in frame.get("events", ())]
        self.cursor = frame.get("next_cursor", self.cursor)


def test_a_feed_cut_two_hundred_times(daemon: Daemon) -> None:
    """Cut at random bytes 200 times while events flow, a follower that resumes by cursor has each event once."""
    with CuttingProxy(daemon.port, 11, longest=8_000).running() as proxy:
        follower = Follower(proxy.port)
        with events_flowing(daemon):
            while proxy.cuts < 200:
                follower.connect_once()
        last = head(daemon)
        proxy.whole = True
        follower.connect_once(last)
    assert follower.sequences == list(range(1, last + 1))


@pytest.mark.parametrize("cuts", [20, pytest.param(200, marks=pytest.mark.faults)])
def test_our_own_client_under_cuts(daemon: Daemon, cuts: int) -> None:
    """The client of the command line loses and doubles nothing either, whatever is cut."""
    sequences: list[int] = []
    with CuttingProxy(daemon.port, 12).running() as proxy:
        feed = Feed(Client(f"http://127.0.0.1:{proxy.port}"), {}, 0)

        def follow() -> None:
            for frame in feed.frames():
                sequences.extend(event["sequence"] for event in frame.get("events", ()))

        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(follow)
            with events_flowing(daemon):
                eventually(lambda: following.done() or proxy.cuts >= cuts, timeout=120)
            last = head(daemon)
            proxy.whole = True
            eventually(lambda: following.done() or len(sequences) >= last, timeout=20)
            feed.close()
            following.result()
    assert sequences == list(range(1, last + 1))


def streams(daemon: Daemon) -> int:
    """How many clients follow."""
    count: int = daemon.request("GET", "/health").body["components"]["http"]["streams"]
    return count


def resident(daemon: Daemon) -> int:
    """Bytes of memory that the daemon has."""
    return int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * 4096


def latencies(daemon: Daemon, count: int) -> list[float]:
    """Seconds from a question to the moment when another client sees it on the stream, each after the other."""
    took = []
    with RawWs(daemon.port, f"{STREAM}?ticket=MET-9", Host="localhost") as wire:
        assert json.loads(wire.receive_text())["type"] == "hello"
        for number in range(count):
            began = time.monotonic()
            ask(daemon, ticket="MET-9", title=str(number))
            frame = json.loads(wire.receive_text())
            took.append(time.monotonic() - began)
            assert frame["events"][0]["payload"]["title"] == str(number)
            if number % 7 == 6:
                ask(daemon, body=LARGE)
    return sorted(took)


def stop_reading(daemon: Daemon, stack: ExitStack, count: int) -> list[RawWs]:
    """So many clients that have been greeted and from now on read nothing."""
    taken = [RawWs(daemon.port, STREAM, receive_buffer=4096, Host="localhost") for _ in range(count)]
    eventually(lambda: streams(daemon) == count)
    return [stack.enter_context(wire) for wire in taken]


@pytest.mark.parametrize("clients", [200, pytest.param(1, marks=pytest.mark.faults)])
def test_clients_that_stop_reading(daemon: Daemon, clients: int) -> None:
    """They are cut off and cost bounded memory; what others wait for takes no longer than without them."""
    quiet = latencies(daemon, QUESTIONS)
    before = resident(daemon)
    with ExitStack() as stack:
        stop_reading(daemon, stack, clients)
        disturbed = latencies(daemon, QUESTIONS)
        grown = resident(daemon) - before
        eventually(lambda: streams(daemon) == 0, timeout=15)
    assert grown < 60_000_000 + clients * 200_000
    assert disturbed[-2] < 5 * quiet[-2] + 0.02, (quiet[-5:], disturbed[-5:])


def test_clients_that_read_again_too_late_hear_why(daemon: Daemon) -> None:
    """Who reads on before being cut off finds the close frame 1013 behind whole frames, and resumes by cursor."""
    with ExitStack() as stack:
        slow = stop_reading(daemon, stack, 20)
        for _ in range(16):
            ask(daemon, body=LARGE)
        assert {wire.receive_close()[0] for wire in slow} == {1013}
    follower = Follower(daemon.port)
    follower.connect_once(16)
    assert follower.sequences == list(range(1, 17))
