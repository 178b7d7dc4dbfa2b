"""A client that joins between the announcement of a batch and its broadcast: nothing twice, nothing missing."""

from __future__ import annotations

import json
from typing import Any, cast

import gevent
from gevent.event import Event

from metawsm.api.access import Access
from metawsm.api.feed import Feed, Filter, Subscriber
from metawsm.daemon.tail import Tail, TailEvent

LOG = [TailEvent(n, "MET-1" if n % 2 else "MET-2", None, None, f'{{"sequence":{n}}}') for n in range(1, 30)]


class Recorder:
    """A socket that keeps what it is sent and stays open until `closed` is set."""

    def __init__(self) -> None:
        self.closed = Event()
        self.sequences: list[int] = []

    def send_frame(self, frame: bytes) -> bool:
        """Keep the sequences of a frame."""
        text = frame[frame.index(b"{") :]
        self.sequences += [event["sequence"] for event in json.loads(text)["events"]]
        return True

    def wait_drained(self, timeout: float) -> bool:
        """Everything is sent at once."""
        return True

    def receive(self, timeout: float) -> None:
        """Says nothing, until the end."""
        self.closed.wait(timeout)


def matching(after: int, limit: int, wants: Filter) -> tuple[list[Any], int]:
    """The log up to sequence 20, as the database gives it."""
    found = [event for event in LOG[after:20] if wants.matches(event)][:limit]
    return found, found[-1].sequence if len(found) == limit else 20


def test_joined_between_announcement_and_broadcast() -> None:
    """The batch that was announced before is neither repeated nor lost for a client that has just caught up with it."""
    tail = Tail(lambda after, upto: LOG[after:upto], 0)
    feed = Feed(tail, matching, lambda: 20, cast(Access, None), lambda: "now", 1)
    clients = {
        wants: [Subscriber(cast(Any, Recorder()), wants, cursor) for cursor in (0, 5, 20)]
        for wants in (Filter(), Filter(ticket="MET-1"))
    }
    feed._join(Subscriber(cast(Any, Recorder()), Filter(), 0))
    tail.advance(12)
    tail.advance(20)
    following = [gevent.spawn(feed._follow, each, 4) for group in clients.values() for each in group]
    gevent.sleep(0.05)
    broadcaster = gevent.spawn(feed.run)
    gevent.sleep(0.05)
    tail.advance(25)
    gevent.sleep(0.05)
    try:
        for wants, group in clients.items():
            for client, cursor in zip(group, (0, 5, 20), strict=True):
                expected = [event.sequence for event in LOG[cursor:25] if wants.matches(event)]
                assert cast(Any, client.socket).sequences == expected
    finally:
        gevent.killall([broadcaster, *following])
