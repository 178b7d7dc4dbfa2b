"""The first meeting of a restored database with Redis, which may hold more than the backup."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from metawsm.bus.ports import Transport, Writer
from metawsm.domain.errors import Unavailable
from metawsm.storage.readers import Readers
from metawsm.storage.restore import awaits_feed, continue_above

# Redis' own entry ids begin with milliseconds since 1970; from here on an entry is none of ours.
FOREIGN = 10**12
log = logging.getLogger("metawsm.restored")


def continue_above_feed(
    writer: Writer, readers: Readers, transport: Transport, feed: str, topics: Sequence[str]
) -> None:
    """Before anything is published: give no sequence that an entry of the feed or of these topics of events has had.

    On each connection after a restore until the feed of the lost time has been met; what was replaced may not have told
    how far it went. A topic that cannot be read is left out. Raises Unavailable, also for a feed that cannot be read.
    """
    if not readers.query(awaits_feed):
        return
    end = _ours(transport.last_entry_id(feed))
    highest = max([end, *(_end(transport, topic) for topic in topics)])
    top = writer.run(partial(continue_above, feed=end, highest=highest))
    log.info("a restored database: the feed ends at %d, sequences go on above %d", end, top)


def _end(transport: Transport, topic: str) -> int:
    """The last sequence of a topic, 0 where the topic itself, not the connection, is the reason that nobody knows."""
    try:
        return _ours(transport.last_entry_id(topic))
    except Unavailable as error:
        if topic not in getattr(transport, "sick_topics", ()):
            raise
        log.warning("a restored database cannot see where %s ends: %s", topic, error.message)
        return 0


def _ours(entry_id: str) -> int:
    """The sequence of an entry id, 0 for one that another program made."""
    sequence = int(entry_id.partition("-")[0])
    return sequence if sequence < FOREIGN else 0
