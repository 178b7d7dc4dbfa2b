"""What the relay asks the database at each reconnect, and a stream for each page, whatever has piled up there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metawsm.storage import log_reads
from metawsm.storage.connection import Connection, open_writer
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


MANY = 60_000
# One run on one ticket; its last 200 events are about a quiet thread, of another run each tenth time.
FILL = f"""
INSERT INTO forum_events (event_id, event_type, event_version, occurred_at, thread_id, run_id, ticket, actor_type,
    correlation_id, payload_json)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
SELECT 'e' || i, 'forum.post.added', 1, 'x', iif(i > {MANY} - 200, 'quiet', 'loud'), iif(i % 10, 'r1', 'r2'), 'BIG-1',
    'agent', 'c', '{{}}' FROM n
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A long log about one ticket."""
    connection = open_writer(tmp_path_factory.mktemp("log") / "db")
    migrate(connection, STEPS)
    connection.execute(FILL)
    yield connection
    connection.close()


def _cost(db: Connection, ask: Callable[[], object]) -> int:
    """The steps of SQLite's machine, in thousands."""
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    db.set_progress_handler(count, 1000)
    ask()
    db.set_progress_handler(None)
    return steps


@pytest.mark.parametrize(
    ("wants", "found"),
    [
        ({"ticket": "BIG-1", "thread_id": "quiet"}, 200),
        ({"ticket": "BIG-1", "run_id": "r2", "thread_id": "quiet"}, 20),
        ({"ticket": "BIG-1", "thread_id": "loud", "run_id": "r3"}, 0),
        ({"ticket": "MET-2", "run_id": "r2"}, 0),
        ({"ticket": "MET-2", "thread_id": "loud"}, 0),
        ({"run_id": "r2", "thread_id": "loud"}, MANY // 10 - 20),
        ({"ticket": "BIG-1", "run_id": "r2"}, MANY // 10),
        ({"thread_id": "quiet"}, 200),
        ({"run_id": "r2"}, MANY // 10),
        ({"ticket": "MET-2"}, 0),
    ],
)
def test_a_page_of_the_stream_is_cheap_whatever_its_filters_are(
    log: Connection, wants: dict[str, str], found: int
) -> None:
    """The hub reads it: it looks at some thousand rows at most, and where it ends the next one goes on."""
    seen: list[int] = []
    cursor = pages = 0
    while cursor < MANY:

        def ask() -> None:
            nonlocal cursor
            rows, examined = log_reads.matching(log, cursor, MANY, 500, 128 * 1024, wants)
            seen.extend(row[0] for row in rows)
            assert cursor < examined <= MANY
            cursor = examined

        assert _cost(log, ask) < 60, (wants, cursor)
        pages += 1
    assert len(seen) == found == len(set(seen)) and seen == sorted(seen)
    assert pages <= 1 + found // 250 + (MANY // 2000 if len(wants) > 1 else 0)
