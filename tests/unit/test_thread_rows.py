"""A thread's row: its statements name no columns, so that their order is a promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from metawsm.messages.thread_rows import COLUMNS
from metawsm.projections import thread_views
from metawsm.storage.connection import open_writer
from metawsm.storage.migrations import migrate
from metawsm.storage.schema_steps import STEPS


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("forum_threads", COLUMNS),
        ("forum_thread_views", (*COLUMNS, "priority_rank", "bucket", "opened_sequence")),
    ],
)
def test_the_columns_stand_in_the_order_of_the_values(table: str, columns: tuple[str, ...], tmp_path: Path) -> None:
    """As `to_row` gives them, after every step of the schema."""
    db = open_writer(tmp_path / "db")
    migrate(db, STEPS)
    db.execute(thread_views.schema(""))
    assert tuple(name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")) == columns
    db.close()
