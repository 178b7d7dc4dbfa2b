"""The readers of the projections, bound to the policy and the clock, as the API asks for them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from metawsm.api.queries import ReadModels
from metawsm.bus.letters import OPEN, LetterFilter
from metawsm.bus.ports import Db
from metawsm.bus.reading import Filters, Viewer
from metawsm.domain.view import timestamp
from metawsm.projections import agent_inbox, search, thread_stats, thread_views
from metawsm.storage import event_pages, letter_pages
from metawsm.storage.outbox import Outbox


def now() -> str:
    """The time as messages carry it: RFC 3339, UTC, microseconds."""
    second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(second)}.{microsecond:06d}Z"


@lru_cache(2)  # formatting a date costs three times as much as all the rest
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def ago(seconds: float) -> str:
    """The time that long ago."""
    return timestamp(datetime.now(UTC) - timedelta(seconds=seconds))


def read_models(minutes: int, outbox: Outbox) -> ReadModels:
    """Readers whose due times follow from `forum.sla.escalation_minutes`."""

    def list_threads(
        db: Db, filters: Filters, limit: int, cursor: str | None, viewer: Viewer | None, sort: str
    ) -> dict[str, Any]:
        return thread_views.list_threads(
            db, filters, limit, cursor, escalation_minutes=minutes, now=now(), viewer=viewer, sort=sort
        )

    def queue(
        db: Db, kind: str, filters: Filters, viewer: Viewer | None, limit: int, cursor: str | None
    ) -> dict[str, Any]:
        return thread_views.queue(db, kind, filters, viewer, limit, cursor, escalation_minutes=minutes, now=now())

    def find(
        db: Db, query: str, filters: Filters, viewer: Viewer | None, limit: int, cursor: str | None
    ) -> dict[str, Any]:
        return search.search(db, query, filters, viewer, limit, cursor, escalation_minutes=minutes)

    def stats(db: Db, ticket: str | None, run_id: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
        return thread_stats.stats(db, ticket, run_id, limit, cursor, due=ago(minutes * 60))

    def detail(db: Db, thread_id: str, before: int | None, limit: int) -> dict[str, Any]:
        return event_pages.thread_detail(db, thread_id, before, limit, escalation_minutes=minutes)

    def open_letter(db: Db, command_id: str) -> dict[str, Any] | None:
        page = letter_pages.letters_page(db, LetterFilter(status=OPEN, message_id=command_id), 1, None)
        return next(iter(page["dead_letters"]), None)

    return ReadModels(
        list_threads, detail, queue, find, agent_inbox.inbox, stats, event_pages.events_page, outbox.find, open_letter
    )
