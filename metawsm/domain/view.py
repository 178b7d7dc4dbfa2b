"""The view of a thread as readers get it. Source: contract, section 5."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from metawsm.domain.thread import Thread

_SECOND = len("2026-01-01T00:00:00")


def due_at(waiting_since: str, minutes: int) -> str:
    """The moment at which an answer is overdue. Both are RFC 3339, UTC, with microseconds."""
    return _second_later(waiting_since[:_SECOND], minutes) + waiting_since[_SECOND:]


@lru_cache(1024)  # dates are slow to read and to write, and many threads wait since the same second
def _second_later(second: str, minutes: int) -> str:
    return (datetime.fromisoformat(second) + timedelta(minutes=minutes)).isoformat()


def timestamp(moment: datetime) -> str:
    """RFC 3339 with microseconds and `Z`, of an aware UTC time."""
    return f"{moment.isoformat(timespec='microseconds')[:26]}Z"  # strftime takes three times as long


def view(thread: Thread, escalation_minutes: int) -> dict[str, Any]:
    """The JSON object of a thread; empty optional values are left out."""
    optional = {
        "run_id": thread.run_id,
        "agent_name": thread.agent_name,
        "assignee_type": thread.assignee_type,
        "assignee_name": thread.assignee_name,
        "opened_by_name": thread.opened_by_name,
        "last_post_at": thread.last_post_at,
        "last_post_by_type": thread.last_post_by_type,
        "last_post_by_name": thread.last_post_by_name,
        "last_actor_type": thread.last_actor_type,
        "waiting_since": thread.waiting_since,
        "due_at": due_at(thread.waiting_since, escalation_minutes) if thread.waiting_since else None,
        "closed_at": thread.closed_at,
    }
    return {
        "thread_id": thread.thread_id,
        "ticket": thread.ticket,
        "title": thread.title,
        "state": thread.state,
        "priority": thread.priority,
        "opened_by_type": thread.opened_by_type,
        "posts_count": thread.posts_count,
        "last_event_sequence": thread.last_event_sequence,
        "version_sequence": thread.version_sequence,
        "is_unanswered": thread.is_unanswered,
        "escalation_level": thread.escalation_level,
        "opened_at": thread.opened_at,
        "updated_at": thread.updated_at,
    } | {name: value for name, value in optional.items() if value}
