"""What the relay asks the database at each reconnect, whatever has piled up there."""

from __future__ import annotations

from pathlib import Path

from metawsm.storage import log_reads
from metawsm.storage.connection import open_writer
from metawsm.storage.migrations import migrate
from metawsm.storage.schema_steps import STEPS

EVENT = """
INSERT INTO forum_outbox (message_id, kind, topic, message_key, payload_json, status, sequence, created_at, updated_at)
VALUES (?, 'event', 't', 'k', '{}', ?, ?, 'x', 'x')
"""


def test_the_newest_published_sequence(tmp_path: Path) -> None:
    """It lies ahead of the oldest event that waits; without one it is the head of the log."""
    connection = open_writer(tmp_path / "db")
    migrate(connection, STEPS)
    assert log_reads.published(connection) == log_reads.head(connection) == 0
    for sequence in range(1, 8):
        connection.execute(EVENT, (f"m{sequence}", "pending" if sequence in (5, 7) else "done", sequence))
    assert log_reads.published(connection) == 4


def test_it_is_found_by_an_index(tmp_path: Path) -> None:
    """A reconnect must not read a week of done rows: on the hub that takes longer than a question may."""
    connection = open_writer(tmp_path / "db")
    migrate(connection, STEPS)
    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {log_reads.OLDEST_WAITING}")]
    assert len(plan) == 1 and "forum_outbox_undone" in plan[0], plan
