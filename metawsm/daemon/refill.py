"""After Redis came back empty: the feed and the event topics get the retention window of the log again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from metawsm.bus.ports import Publication, Transport
from metawsm.bus.work import Queued

CHUNK = 250  # events per round trip
log = logging.getLogger("metawsm.relay")


class Refill:
    """Publishes the window chunk by chunk, in sequence order, between the relay's own round trips.

    `start()` gives the sequence before the window; `load(after, limit)` the events behind a sequence; `messages` makes
    publications of one. While it is active, the relay keeps newer events back: their ids would bar the older ones.
    """

    def __init__(
        self,
        transport: Transport,
        start: Callable[[], int],
        load: Callable[[int, int], list[Queued]],
        messages: Callable[[Queued], list[Publication]],
    ) -> None:
        self._transport = transport
        self._start = start
        self._load = load
        self._messages = messages
        self._after: int | None = None

    @property
    def active(self) -> bool:
        """Whether events still wait to be published again."""
        return self._after is not None

    def begin(self) -> None:
        """Publish the window from its beginning."""
        self._after = self._start()
        log.warning("Redis has lost the feed; publishing events again from sequence %d", self._after + 1)

    def step(self) -> bool:
        """Publish the next chunk; True when this was the last one. Raises Unavailable."""
        rows = self._load(self._after or 0, CHUNK)
        if rows:
            self._transport.exchange([p for row in rows for p in self._messages(row)], [], [])
            self._after = rows[-1].sequence
            return False
        log.warning("the feed is complete again up to sequence %d", self._after)
        self._after = None
        return True
