"""A thread as a row, the same for the state table and for the view."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import attrs

from metawsm.domain.thread import Thread

COLUMNS: tuple[str, ...] = tuple(a.name for a in attrs.fields(Thread))
COLUMN_LIST = ", ".join(COLUMNS)
_REQUESTS = COLUMNS.index("open_requests")
_ASKER = COLUMNS.index("asker_last")
_VALUES = attrgetter(*COLUMNS)

DDL = """
    thread_id TEXT PRIMARY KEY, ticket TEXT NOT NULL, title TEXT NOT NULL, state TEXT NOT NULL, priority TEXT NOT NULL,
    opened_by_type TEXT NOT NULL, opened_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    last_event_sequence INTEGER NOT NULL, version_sequence INTEGER NOT NULL, run_id TEXT, agent_name TEXT,
    opened_by_name TEXT, assignee_type TEXT, assignee_name TEXT, posts_count INTEGER NOT NULL, last_post_at TEXT,
    last_post_by_type TEXT, last_post_by_name TEXT, last_actor_type TEXT, asker_last INTEGER NOT NULL,
    waiting_since TEXT, escalation_level INTEGER NOT NULL, closed_at TEXT, open_requests TEXT
"""


def to_row(thread: Thread) -> list[Any]:
    """The values of COLUMNS."""
    row = list(_VALUES(thread))
    if thread.open_requests is not None:
        row[_REQUESTS] = json.dumps(thread.open_requests)
    row[_ASKER] = int(thread.asker_last)
    return row


def from_row(row: Sequence[Any]) -> Thread:
    """The thread of a row that begins with COLUMNS."""
    values = list(row[: len(COLUMNS)])
    if values[_REQUESTS] is not None:
        values[_REQUESTS] = tuple(json.loads(values[_REQUESTS]))
    values[_ASKER] = bool(values[_ASKER])
    return Thread(*values)
