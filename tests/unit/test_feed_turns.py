"""Between two pages of one client that catches up, the loop looks at the sockets of the others."""

from __future__ import annotations

import socket
from typing import Any, cast

import gevent
from gevent.event import Event

from metawsm.api.access import Access
from metawsm.api.feed import Feed, Filter, Subscriber
from metawsm.daemon.tail import Tail, TailEvent

LOG = [TailEvent(n, "MET-1", None, None, f'{{"sequence":{n}}}') for n in range(1, 101)]


class QuickClient:
    """A client that takes everything at once. When it has been sent the fifth page, somebody else is heard of."""

    def __init__(self, other: socket.socket) -> None:
        self.closed = Event()
        self.pages = 0
        self._other = other

    def send_frame(self, frame: bytes) -> bool:
        """Another page."""
        self.pages += 1
        if self.pages == 5:
            self._other.send(b"x")
        return True

    def wait_drained(self, timeout: float) -> bool:
        """It is sent already."""
        return True

    def receive(self, timeout: float) -> None:
        """Says nothing, until the end."""
        self.closed.wait(timeout)


def page(after: int, limit: int, wants: Filter) -> tuple[list[Any], int]:
    """The log, as the database gives it."""
    found = LOG[after : after + limit]
    return found, found[-1].sequence


def test_others_are_served_between_two_pages() -> None:
    """What they send during a page is seen before the one behind the next is read."""
    ours, theirs = socket.socketpair()
    client = QuickClient(ours)
    seen: list[int] = []

    def see() -> None:
        watcher.stop()
        seen.append(client.pages)

    watcher = gevent.get_hub().loop.io(theirs.fileno(), 1)
    watcher.start(see)
    tail = Tail(lambda after, upto: LOG[after:upto], 100)
    feed = Feed(tail, page, lambda: 100, cast(Access, None), lambda: "now", 1)
    following = gevent.spawn(feed._follow, Subscriber(cast(Any, client), Filter(), 0), 1)
    with gevent.Timeout(10):
        while client.pages < 100 or not seen:
            gevent.sleep(0.002)
    following.kill()
    watcher.close()
    ours.close()
    theirs.close()
    assert seen[0] <= 6
