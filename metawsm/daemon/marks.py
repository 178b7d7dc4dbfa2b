"""What the table is told of rows on their way: in Redis, or refused. What it does not know yet is remembered here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import gevent

from metawsm.bus.ports import Db, Outcome, Writer
from metawsm.bus.work import Queued
from metawsm.domain.errors import Unavailable
from metawsm.storage.outbox import Outbox

MOST = 4096  # rows without their mark; no more are published until the database can be written again
CHUNK = 256  # rows marked by one job
PAUSE = 1.0  # seconds until marks that could not be stored are tried again
log = logging.getLogger("metawsm.relay")


class Marks:
    """Marks rows as sent with the next commit, again and again until that is stored; meanwhile none is published twice.

    `on_room` is called when it was full and is not any more.
    """

    def __init__(self, writer: Writer, outbox: Outbox, now: Callable[[], str], on_room: Callable[[], None]) -> None:
        self._writer = writer
        self._outbox = outbox
        self._now = now
        self._on_room = on_room
        self._unmarked: set[int] = set()
        self._failed: list[int] = []

    @property
    def full(self) -> bool:
        """Whether nothing more is to be published."""
        return len(self._unmarked) >= MOST

    def unpublished(self, rows: list[Queued]) -> list[Queued]:
        """Those that are not in Redis yet."""
        return [row for row in rows if row.row_id not in self._unmarked] if self._unmarked else rows

    def add(self, row_ids: list[int]) -> None:
        """These rows are in Redis."""
        if row_ids:
            self._unmarked.update(row_ids)
            self._store(row_ids)

    def refuse(self, told: Mapping[int, str]) -> None:
        """These rows are not in Redis, or only in part, and why."""
        if not told:
            return
        now = self._now()
        log.warning("Redis refused %d message(s), they stay in the outbox: %s", len(told), next(iter(told.values())))

        def note(db: Db) -> None:
            for row_id, text in told.items():
                self._outbox.note_fault(db, row_id, text, now)

        self._writer.defer(note)

    def forget(self) -> None:
        """Redis may have lost what was published."""
        self._unmarked.clear()
        self._failed.clear()

    def _store(self, row_ids: list[int]) -> None:
        now = self._now()

        def mark(db: Db) -> None:
            self._outbox.mark_sent(db, row_ids, now)

        try:
            self._writer.defer(mark, partial(self._stored, row_ids))
        except Unavailable as error:
            self._stored(row_ids, Outcome(error=error))

    def _stored(self, row_ids: Sequence[int], outcome: Outcome) -> None:
        if outcome.error is None:
            was_full = self.full
            self._unmarked.difference_update(row_ids)
            if was_full and not self.full:
                self._on_room()
            return
        if not self._failed:
            log.warning("rows in Redis could not be marked as sent, they wait for the database: %s", outcome.error)
            gevent.spawn_later(PAUSE, self._again)
        self._failed += row_ids

    def _again(self) -> None:
        row_ids, self._failed = sorted(self._failed), []
        for start in range(0, len(row_ids), CHUNK):
            self._store(row_ids[start : start + CHUNK])
