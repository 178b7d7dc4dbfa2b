"""While the feed is at work, the loop looks at the sockets of others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import gevent
from gevent.event import Event

from metawsm.api.access import Access
from metawsm.api.feed import CATCH_UP, Feed, Filter, Subscriber
from metawsm.daemon.tail import Tail, TailEvent
from tests.support.other import Other

LOG = [TailEvent(n, "MET-1", None, None, f'{{"sequence":{n}}}') for n in range(1, 101)]


class Client:
    """A client that takes everything at once and says nothing; to send it a frame takes some time."""

    def __init__(self, sent: Callable[[], None], seconds: float = 0.0) -> None:
        self.closed = Event()
        self._sent = sent
        self._seconds = seconds

    def send_frame(self, frame: bytes) -> bool:
        """Another one."""
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            pass
        self._sent()
        return True

    def wait_drained(self, timeout: float) -> bool:
        """It is sent already."""
        return True

    def receive(self, timeout: float) -> None:
        """Until the end."""
        self.closed.wait(timeout)


class Pages:
    """The log, as the database gives it; how many pages were read in which turn of the loop."""

    def __init__(self) -> None:
        self.in_turn: Counter[int] = Counter()

    def __call__(self, after: int, limit: int, wants: Filter) -> tuple[list[Any], int]:
        """A page."""
        self.in_turn[gevent.get_hub().loop.iteration] += 1
        found = LOG[after : after + limit]
        return found, found[-1].sequence


def feed_over(pages: Pages) -> Feed:
    """A feed of the log."""
    tail = Tail(lambda after, upto: LOG[after:upto], 100)
    return Feed(tail, pages, lambda: 100, cast(Access, None), lambda: "now", 1)


@contextmanager
def following(feed: Feed, clients: list[Client], cursor: int) -> Iterator[None]:
    """These clients follow the feed, a page of one event at a time."""
    subscribers = [Subscriber(cast(Any, client), Filter(), cursor) for client in clients]
    greenlets = [gevent.spawn(feed._follow, each, 1) for each in subscribers]
    greenlets.append(gevent.spawn(feed.run))
    gevent.sleep(0.002)
    try:
        yield
    finally:
        gevent.killall(greenlets)


def wait_for(what: Callable[[], bool]) -> None:
    """Let the feed work until it is true."""
    with gevent.Timeout(20):
        while not what():
            gevent.sleep(0.002)


def new_events(count: int) -> list[TailEvent]:
    """Events that have come just now."""
    return [TailEvent(n, "MET-1", None, None, "{}") for n in range(101, 101 + count)]


def test_others_are_served_between_two_pages() -> None:
    """What they send during a page is seen before the one behind the next is read."""
    other = Other()
    with following(feed_over(Pages()), [Client(other.step)], 0):
        wait_for(lambda: other.steps == 100 and bool(other.seen))
    other.close()
    assert other.seen[0] <= 6


def test_a_turn_has_one_page_however_many_clients_catch_up() -> None:
    """Else a turn is as long as there are clients, when all of them come back at once."""
    other, pages = Other(), Pages()
    with following(feed_over(pages), [Client(other.step) for _ in range(60)], 70):
        wait_for(lambda: other.steps == 60 * 30)
    other.close()
    assert max(pages.in_turn.values()) == 1
    assert sum(pages.in_turn.values()) == 60 * 30


def test_others_are_served_during_a_long_round() -> None:
    """What they send is seen after some milliseconds of writing, not after all subscribers."""
    other, feed = Other(), feed_over(Pages())
    with following(feed, [Client(other.step, seconds=0.001) for _ in range(60)], 100):
        feed._announce(new_events(1))
        wait_for(lambda: other.steps == 60 and bool(other.seen))
    other.close()
    assert other.seen[0] <= 15  # two turns of at most five; a timer goes before what the sockets bring in the same turn


def test_a_short_round_is_not_cut() -> None:
    """A turn of the loop costs a commit and the requests of others: many subscribers that take little share it."""
    turns: set[int] = set()
    loop = gevent.get_hub().loop
    feed = feed_over(Pages())
    with following(feed, [Client(lambda: turns.add(loop.iteration)) for _ in range(1500)], 100):
        feed._announce(new_events(1))
        wait_for(lambda: all(each.cursor == 101 for each in feed._live[Filter()]))
    assert len(turns) < 15


def test_others_are_served_between_two_rounds() -> None:
    """What they send during a round is seen before the one behind the next begins."""
    other, feed = Other(), feed_over(Pages())
    events = new_events(CATCH_UP * 30)
    with following(feed, [Client(other.step)], 100):
        for first in range(0, len(events), CATCH_UP):
            feed._announce(events[first : first + CATCH_UP])
        wait_for(lambda: other.steps == 30 and bool(other.seen))
    other.close()
    assert other.seen[0] <= 6
