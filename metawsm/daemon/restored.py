"""The first meeting of a restored database with Redis, which may hold more than the backup."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from metawsm.bus.ports import Transport, Writer
from metawsm.storage.readers import Readers
from metawsm.storage.restore import awaits_feed, continue_above

log = logging.getLogger("metawsm.restored")


def continue_above_feed(writer: Writer, readers: Readers, transport: Transport, streams: Sequence[str]) -> None:
    """Before anything is published: give no sequence that an entry of these streams of events has had.

    Once after a restore; what was replaced may not have told how far it went. Raises Unavailable.
    """
    if not readers.query(awaits_feed):
        return
    last = max(int(transport.last_entry_id(stream).partition("-")[0]) for stream in streams)
    top = writer.run(partial(continue_above, sequence=last))
    log.info("a restored database: the feed ends at %d, sequences go on above %d", last, top)
