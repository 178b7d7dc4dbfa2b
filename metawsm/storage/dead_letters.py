"""`dead_letters`: messages nobody could handle, kept with all that is known about them."""

from __future__ import annotations

import json

from metawsm.bus.ports import Db
from metawsm.bus.receive import DeadLetter

_INSERT = """
INSERT INTO dead_letters (reason, error, traceback, attempts, handler, consumer_group, topic, entry_id, message_id,
    metadata_json, payload, first_failed_at, last_failed_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)
ON CONFLICT (consumer_group, topic, entry_id) DO UPDATE SET attempts = attempts + ?4, last_failed_at = ?12
"""


class DeadLetterTable:
    """Implements `bus.receive.DeadLetters`."""

    def insert(self, db: Db, letter: DeadLetter) -> None:
        """Store a letter, or count its repetition."""
        metadata = json.dumps(dict(letter.metadata)) if letter.metadata is not None else None
        db.execute(
            _INSERT,
            (letter.reason, letter.error, letter.traceback, letter.attempts, letter.handler, letter.group, letter.topic,
             letter.entry_id, letter.message_id, metadata, letter.payload, letter.failed_at),
        )  # fmt: skip

    def count_open(self, db: Db) -> int:
        """How many wait for somebody."""
        return int(next(iter(db.execute("SELECT count(*) FROM dead_letters WHERE status = 'open'")))[0])
