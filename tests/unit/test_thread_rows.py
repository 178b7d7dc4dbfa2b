"""A thread's row: its statements name no columns, so that their order is a promise."""

from __future__ import annotations

import pytest

from metawsm.messages.thread_rows import COLUMNS
from metawsm.projections import thread_views
from metawsm.storage.connection import Connection
from metawsm.storage.schema import FIRST


@pytest.mark.parametrize(
    ("table", "ddl", "columns"),
    [
        ("forum_threads", FIRST, COLUMNS),
        ("forum_thread_views", thread_views.schema(""), (*COLUMNS, "priority_rank", "bucket", "opened_sequence")),
    ],
)
def test_the_columns_stand_in_the_order_of_the_values(table: str, ddl: str, columns: tuple[str, ...]) -> None:
    """As `to_row` gives them."""
    db = Connection(":memory:")
    db.execute(ddl)
    assert tuple(name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")) == columns
    db.close()
