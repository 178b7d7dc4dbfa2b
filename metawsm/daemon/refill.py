"""After Redis lost entries: the feed and the event topics get the retention window of the log again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from metawsm.bus.ports import Publication, Transport
from metawsm.bus.work import Queued
from metawsm.domain.errors import Unavailable

CHUNK = 250  # events per round trip
# Faults that say: the stream holds something else at or above the entry's id.
BARRED = ("MISSING", "TAKEN", "EXHAUSTED")
MOST_RESTARTS = 50
log = logging.getLogger("metawsm.relay")


class Refill:
    """Publishes the window chunk by chunk, in sequence order, between the relay's own round trips.

    `start()` gives the sequence before the window and `published()` the newest one that had been published;
    `load(after, limit)` the events behind a sequence; `messages` makes publications of one; `empty(topics, newest)`
    makes streams empty. While it is active, the relay keeps newer events back: their ids would bar the older ones. A
    stream that got newer entries all the same is emptied, and the window is published again.
    """

    def __init__(
        self,
        transport: Transport,
        feed: str,
        start: Callable[[], int],
        published: Callable[[], int],
        load: Callable[[int, int], list[Queued]],
        messages: Callable[[Queued], list[Publication]],
        empty: Callable[[Sequence[str], str], None],
    ) -> None:
        self._transport = transport
        self._feed = feed
        self._start = start
        self._published = published
        self._load = load
        self._messages = messages
        self._empty = empty
        self._after: int | None = None
        self._probing = False
        self._restarts = 0

    @property
    def active(self) -> bool:
        """Whether events still wait to be published again."""
        return self._after is not None

    def begin(self, *, surely: bool = False) -> None:
        """Publish what is missing of the window; unless `surely` needed, a feed that looks whole is left alone."""
        self._probing = not surely and not self.active
        self._restarts = 0
        self._after = self._start()

    def step(self) -> bool:
        """Publish the next chunk; True when nothing is missing any more. Raises Unavailable."""
        rows = self._load(self._after or 0, 1 if self._probing else CHUNK)
        if not rows:
            return self._end()
        barred = self._publish(rows)
        if barred:
            self._restart(barred)
            return False
        self._after = rows[-1].sequence
        return self._probing and self._probed()

    def _publish(self, rows: Sequence[Queued]) -> set[str]:
        """Publish; return the topics whose newer entries bar these."""
        sent = [publication for row in rows for publication in self._messages(row)]
        faults = self._transport.exchange(sent, [], []).faults
        told = {p.topic: fault for p, fault in zip(sent, faults, strict=True) if fault}
        if (fault := told.get(self._feed, "")) and not fault.startswith(BARRED):
            raise Unavailable(f"the feed {self._feed} cannot be filled again: {fault}")
        return {topic for topic, fault in told.items() if fault.startswith(BARRED)}

    def _probed(self) -> bool:
        """The window's first event is there: go on behind what the feed holds, which is its beginning or all of it."""
        self._probing = False
        last = int(self._transport.last_entry_id(self._feed).partition("-")[0])
        newest = self._published()
        if last >= newest:
            return self._end()
        self._after = max(self._after or 0, last)
        log.warning("Redis has lost events; the feed gets again what it lacks of those up to sequence %d", newest)
        return False

    def _restart(self, barred: set[str]) -> None:
        self._restarts += 1
        if self._restarts > MOST_RESTARTS:
            raise Unavailable(f"somebody else keeps adding entries to {', '.join(sorted(barred))}")
        log.warning("%s lost old events and has newer ones; it is filled anew", ", ".join(sorted(barred)))
        self._empty(sorted(barred), f"{self._published()}-0")
        self._probing = False
        self._after = self._start()

    def _end(self) -> bool:
        log.info("the feed is complete up to sequence %d", self._after or 0)
        self._after = None
        return True
