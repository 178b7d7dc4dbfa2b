"""What readers ask for: which threads, and who is looking."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from metawsm.bus.ports import Db
from metawsm.domain.thread import Thread
from metawsm.domain.view import view

_LAST_SEEN = """
SELECT last_seen_event_sequence FROM forum_thread_reads WHERE viewer_type = ? AND viewer_id = ? AND thread_id = ?
"""
_ASKED = "SELECT substr(body, 1, 300) FROM forum_posts WHERE post_id = ?"


@frozen
class Filters:
    """Which threads a reader wants; None is any. `assignee` is a name. Values are checked before."""

    ticket: str | None = None
    run_id: str | None = None
    state: str | None = None
    priority: str | None = None
    assignee: str | None = None


@frozen
class Viewer:
    """Who is looking: one of the viewer types, and an id."""

    type: str
    id: str


def is_unseen(db: Db, viewer: Viewer, thread: Thread) -> bool:
    """Whether the newest event that is not by `system` is news to the viewer."""
    for (seen,) in db.execute(_LAST_SEEN, (viewer.type, viewer.id, thread.thread_id)):
        return int(seen) < thread.version_sequence
    return True


def shown(db: Db, thread: Thread, viewer: Viewer | None, escalation_minutes: int) -> dict[str, Any]:
    """The view of a thread (contract, section 5); with `is_unseen` when somebody looks, and an open question."""
    told = view(thread, escalation_minutes)
    for (question,) in db.execute(_ASKED, (thread.open_requests[0],)) if thread.open_requests else ():
        told["question"] = question
    if viewer is not None:
        told["is_unseen"] = is_unseen(db, viewer, thread)
    return told
