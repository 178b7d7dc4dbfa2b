"""The outbox table: what has ended goes by its age, whatever lies before it."""

from __future__ import annotations

from pathlib import Path

from metawsm.storage.connection import open_writer
from metawsm.storage.migrations import migrate
from metawsm.storage.outbox import Outbox
from metawsm.storage.schema_steps import STEPS

OLD, YOUNG = "2026-01-01T00:00:00.000000Z", "2026-02-01T00:00:00.000000Z"
INSERT = """
INSERT INTO forum_outbox (message_id, kind, topic, message_key, payload_json, status, created_at, updated_at)
VALUES (?, 'command', 't', 'k', '{}', ?, ?, ?)
"""


def test_what_has_ended_goes_by_age_whatever_lies_before_it(tmp_path: Path) -> None:
    """Rows that wait or failed lately, however many come first, do not keep older done and failed ones alive."""
    connection = open_writer(tmp_path / "db")
    migrate(connection, STEPS)
    kinds = [("pending", OLD), ("failed", YOUNG), ("done", OLD), ("failed", OLD), ("done", YOUNG)]
    for number, (status, at) in enumerate(kind for kind in kinds for _ in range(10)):
        connection.execute(INSERT, (f"m{number}", status, at, at))
    outbox = Outbox()
    assert [outbox.prune(connection, "2026-01-15", 8) for _ in range(4)] == [8, 8, 4, 0]
    left = connection.execute("SELECT status, updated_at, count(*) FROM forum_outbox GROUP BY 1, 2 ORDER BY 1, 2")
    assert list(left) == [("done", YOUNG, 10), ("failed", YOUNG, 10), ("pending", OLD, 10)]


def test_pruning_looks_only_at_what_it_deletes(tmp_path: Path) -> None:
    """However long the table is: the plan searches the index of ended rows by age."""
    connection = open_writer(tmp_path / "db")
    migrate(connection, STEPS)
    plans: list[str] = []

    def look(_cursor: object, sql: str, _bindings: object) -> bool:
        if sql.lstrip().startswith("DELETE"):
            plans.extend(str(row[3]) for row in list(connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("x", 1))))
        return True

    connection.exec_trace = look
    Outbox().prune(connection, YOUNG, 8)
    assert any("forum_outbox_ended (updated_at<?)" in step for step in plans)
    assert not any(step.startswith("SCAN") for step in plans)
