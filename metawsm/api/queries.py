"""The reading endpoints: parameters checked, one short query, the object named by the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import frozen

from metawsm.api.exchange import Answer, Request, number
from metawsm.bus.dispatch import CommandRow, Outcome
from metawsm.bus.ports import Db
from metawsm.bus.reading import Filters, Viewer
from metawsm.domain.errors import Malformed, NotFound
from metawsm.domain.states import ACTOR_TYPES, PRIORITIES, STATES

T = TypeVar("T")
Query = Callable[[Callable[[Db], T]], T]
FILTERS = ("ticket", "run_id", "state", "priority", "assignee")
VIEWER = ("viewer_type", "viewer_id")
QUEUES = ("unseen", "unanswered", "mine", "breached")
PAGE = 50
LARGEST_PAGE = 500
MOST_EVENTS = 1000
QUERY_LIMIT = 500  # characters of a search
_CHOICES = {"state": STATES, "priority": PRIORITIES, "viewer_type": ACTOR_TYPES}


@frozen
class ReadModels:
    """The readers of the projections, handed in by the daemon; each takes the connection first.

    Signatures: list_threads(db, filters, limit, cursor, viewer, sort) · thread_detail(db, thread_id, posts_before, limit)
    · queue(db, type, filters, viewer, limit, cursor) · search(db, query, filters, viewer, limit, cursor)
    · stats(db, ticket, run_id, limit, cursor) · events_page(db, filters, cursor, limit) · command(db, command_id).
    """

    list_threads: Callable[..., dict[str, Any]]
    thread_detail: Callable[..., dict[str, Any]]
    queue: Callable[..., dict[str, Any]]
    search: Callable[..., dict[str, Any]]
    stats: Callable[..., dict[str, Any]]
    events_page: Callable[..., dict[str, Any]]
    command: Callable[[Db, str], CommandRow | None]


@frozen
class Queries:
    """The endpoints. `run` executes one short query on a connection that sees the newest commit."""

    models: ReadModels
    run: Query[Any]

    def threads(self, request: Request) -> Answer:
        """GET /forum/threads."""
        query = request.only(*FILTERS, *VIEWER, "limit", "cursor", "sort")
        filters, viewer = _filters(query), _viewer(query)
        limit, cursor = number(query, "limit", PAGE, LARGEST_PAGE), query.get("cursor")
        sort = _choice(query, "sort", ("priority", "attention")) or "priority"
        return self._answer(lambda db: self.models.list_threads(db, filters, limit, cursor, viewer, sort))

    def thread(self, request: Request) -> Answer:
        """GET /forum/threads/{id}."""
        query = request.only("posts_before", "limit")
        before = number(query, "posts_before", 0, 2**53 - 1, least=0) or None
        limit = number(query, "limit", 100, LARGEST_PAGE)
        thread_id = request.path["thread_id"]
        return self._answer(lambda db: self.models.thread_detail(db, thread_id, before, limit))

    def queue(self, request: Request) -> Answer:
        """GET /forum/queues."""
        query = request.only("type", *FILTERS, *VIEWER, "limit", "cursor")
        kind = _choice(query, "type", QUEUES)
        if kind is None:
            raise Malformed(
                f"query parameter type is required: {', '.join(QUEUES)}",
                fields={"type": [f"one of: {', '.join(QUEUES)}"]},
            )
        viewer = _viewer(query)
        if kind in ("unseen", "mine") and viewer is None:
            told = f"is required for queue {kind}"
            raise Malformed(f"queue {kind} needs viewer_type and viewer_id", fields={name: [told] for name in VIEWER})
        filters, limit = _filters(query), number(query, "limit", PAGE, LARGEST_PAGE)
        return self._answer(lambda db: self.models.queue(db, kind, filters, viewer, limit, query.get("cursor")))

    def search(self, request: Request) -> Answer:
        """GET /forum/search."""
        query = request.only("query", *FILTERS, *VIEWER, "limit", "cursor")
        text = query.get("query", "").strip()
        if not text or len(text) > QUERY_LIMIT:
            told = f"must be 1 to {QUERY_LIMIT} characters"
            raise Malformed(f"query parameter query {told}", fields={"query": [told]})
        filters, viewer, limit = _filters(query), _viewer(query), number(query, "limit", PAGE, LARGEST_PAGE)
        return self._answer(lambda db: self.models.search(db, text, filters, viewer, limit, query.get("cursor")))

    def stats(self, request: Request) -> Answer:
        """GET /forum/stats."""
        query = request.only("ticket", "run_id", "limit", "cursor")
        limit = number(query, "limit", LARGEST_PAGE, LARGEST_PAGE)
        ticket, run_id, cursor = query.get("ticket"), query.get("run_id"), query.get("cursor")
        return self._answer(lambda db: self.models.stats(db, ticket, run_id, limit, cursor))

    def events(self, request: Request) -> Answer:
        """GET /forum/events."""
        query = request.only("ticket", "run_id", "thread_id", "cursor", "limit")
        cursor = number(query, "cursor", 0, 2**53 - 1, least=0)
        limit = number(query, "limit", 100, MOST_EVENTS)
        filters = {name: query[name] for name in ("ticket", "run_id", "thread_id") if name in query}
        return self._answer(lambda db: self.models.events_page(db, filters, cursor, limit))

    def command(self, request: Request) -> Answer:
        """GET /forum/commands/{id}."""
        request.only()
        command_id = request.path["command_id"]
        row = self.run(lambda db: self.models.command(db, command_id))
        if row is None:
            raise NotFound(f"there is no command {command_id[:100]}; done commands are kept for 7 days")
        return Answer(200, {"command": command_view(row)})

    def _answer(self, query: Callable[[Db], Any]) -> Answer:
        return Answer(200, self.run(query))


def command_view(row: CommandRow) -> dict[str, Any]:
    """A command as people see it: queued, applied, rejected or failed, with what came of it."""
    shown: dict[str, Any] = {"id": row.message_id, "thread_id": row.key, "accepted_at": row.created_at}
    if row.status in ("pending", "sent"):
        return shown | {"status": "queued"}
    if row.status == "failed" or row.outcome_json is None:
        return shown | {"status": "failed", "error": {"code": "internal", "message": row.last_error or "unknown"}}
    outcome = Outcome.from_json(row.outcome_json)
    if outcome.kind == "applied":
        return shown | {"status": "applied"} | dict(outcome.body or {})
    error = {"code": outcome.code, "message": outcome.message} | ({"fields": outcome.faults} if outcome.faults else {})
    return shown | {"status": "rejected", "error": error}


def _filters(query: Mapping[str, str]) -> Filters:
    for name in ("state", "priority"):
        _choice(query, name, _CHOICES[name])
    return Filters(**{name: query.get(name) for name in FILTERS})


def _viewer(query: Mapping[str, str]) -> Viewer | None:
    kind, who = _choice(query, "viewer_type", ACTOR_TYPES), query.get("viewer_id")
    if (kind is None) != (who is None):
        raise Malformed("viewer_type and viewer_id go together", fields={name: ["go together"] for name in VIEWER})
    return Viewer(kind, who) if kind is not None and who is not None else None


def _choice(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    value = query.get(name)
    if value is not None and value not in choices:
        told = f"must be one of: {', '.join(choices)}"
        raise Malformed(f"query parameter {name} {told}, not {value[:40]!r}", fields={name: [told]})
    return value
