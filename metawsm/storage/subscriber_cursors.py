"""`subscriber_cursors`: how far each reaction has come in the log."""

from __future__ import annotations

from metawsm.bus.ports import Db

_POSITION = "SELECT sequence FROM subscriber_cursors WHERE subscriber = ?"
_HEAD = "SELECT coalesce(max(sequence), 0) FROM forum_events"
_MOVE = """
INSERT INTO subscriber_cursors VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET sequence = ?2, updated_at = ?3 WHERE sequence < ?2
"""


class SubscriberCursors:
    """Implements `bus.reactions.Cursors`."""

    def position(self, db: Db, name: str) -> int:
        """The newest sequence looked at; a subscriber that is new begins at the end of the log."""
        for (sequence,) in db.execute(_POSITION, (name,)):
            return int(sequence)
        return int(next(iter(db.execute(_HEAD)))[0])

    def move(self, db: Db, name: str, sequence: int, now: str) -> None:
        """Everything up to there was looked at."""
        db.execute(_MOVE, (name, sequence, now))
