"""The reading endpoints: parameters checked, one short query, the object named by the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import frozen

from metawsm.api.exchange import Answer, Request
from metawsm.api.operations import LIST_EVENTS, LIST_THREADS, SEARCH, SHOW_INBOX, SHOW_QUEUE, SHOW_STATS, SHOW_THREAD
from metawsm.api.parameters import FILTERS, VIEWER, read
from metawsm.bus.dispatch import CommandRow, Outcome
from metawsm.bus.ports import Db
from metawsm.bus.reading import Filters, Viewer
from metawsm.domain.errors import Malformed, NotFound

T = TypeVar("T")
Query = Callable[[Callable[[Db], T]], T]
_VIEWER_NAMES = tuple(parameter.name for parameter in VIEWER)


@frozen
class ReadModels:
    """The readers of the projections, handed in by the daemon; each takes the connection first.

    Signatures: list_threads(db, filters, limit, cursor, viewer, sort) · thread_detail(db, thread_id, before, limit)
    · queue(db, type, filters, viewer, limit, cursor) · search(db, query, filters, viewer, limit, cursor)
    · inbox(db, agent_name, run_id, limit, cursor) · stats(db, ticket, run_id, limit, cursor)
    · events_page(db, filters, cursor, limit, epoch) · command(db, command_id) · open_letter(db, command_id): the
    members `id`, `reason` of a dead letter, or None.
    """

    list_threads: Callable[..., dict[str, Any]]
    thread_detail: Callable[..., dict[str, Any]]
    queue: Callable[..., dict[str, Any]]
    search: Callable[..., dict[str, Any]]
    inbox: Callable[..., dict[str, Any]]
    stats: Callable[..., dict[str, Any]]
    events_page: Callable[..., dict[str, Any]]
    command: Callable[[Db, str], CommandRow | None]
    open_letter: Callable[[Db, str], Mapping[str, Any] | None]


@frozen
class Queries:
    """The endpoints. `run` executes one short query on a connection that sees the newest commit."""

    models: ReadModels
    run: Query[Any]

    def threads(self, request: Request) -> Answer:
        """GET /forum/threads."""
        query = read(request, LIST_THREADS.parameters)
        filters, viewer, limit, cursor = _filters(query), _viewer(query), query["limit"], query["cursor"]
        return self._answer(lambda db: self.models.list_threads(db, filters, limit, cursor, viewer, query["sort"]))

    def thread(self, request: Request) -> Answer:
        """GET /forum/threads/{id}."""
        query = read(request, SHOW_THREAD.parameters)
        thread_id, before, limit = request.path["thread_id"], query["posts_before"], query["limit"]
        return self._answer(lambda db: self.models.thread_detail(db, thread_id, before, limit))

    def queue(self, request: Request) -> Answer:
        """GET /forum/queues."""
        query = read(request, SHOW_QUEUE.parameters)
        kind, viewer = query["type"], _viewer(query)
        if kind in ("unseen", "mine") and viewer is None:
            told = f"is required for queue {kind}"
            raise Malformed(
                f"queue {kind} needs viewer_type and viewer_id", fields={name: [told] for name in _VIEWER_NAMES}
            )
        filters, limit, cursor = _filters(query), query["limit"], query["cursor"]
        return self._answer(lambda db: self.models.queue(db, kind, filters, viewer, limit, cursor))

    def search(self, request: Request) -> Answer:
        """GET /forum/search."""
        query = read(request, SEARCH.parameters)
        text, filters, viewer = query["query"].strip(), _filters(query), _viewer(query)
        limit, cursor = query["limit"], query["cursor"]
        return self._answer(lambda db: self.models.search(db, text, filters, viewer, limit, cursor))

    def inbox(self, request: Request) -> Answer:
        """GET /forum/inbox."""
        query = read(request, SHOW_INBOX.parameters)
        agent, run_id, limit, cursor = query["agent_name"], query["run_id"], query["limit"], query["cursor"]
        return self._answer(lambda db: self.models.inbox(db, agent, run_id, limit, cursor))

    def stats(self, request: Request) -> Answer:
        """GET /forum/stats."""
        query = read(request, SHOW_STATS.parameters)
        ticket, run_id, limit, cursor = query["ticket"], query["run_id"], query["limit"], query["cursor"]
        return self._answer(lambda db: self.models.stats(db, ticket, run_id, limit, cursor))

    def events(self, request: Request) -> Answer:
        """GET /forum/events."""
        query = read(request, LIST_EVENTS.parameters)
        filters = {name: query[name] for name in ("ticket", "run_id", "thread_id")}
        cursor, limit, epoch = query["cursor"], query["limit"], query["epoch"]
        return self._answer(lambda db: self.models.events_page(db, filters, cursor, limit, epoch))

    def command(self, request: Request) -> Answer:
        """GET /forum/commands/{id}."""
        request.only()
        command_id = request.path["command_id"]
        row = self.run(lambda db: self.models.command(db, command_id))
        if row is not None and row.status != "failed":
            return Answer(200, {"command": command_view(row)})
        letter = self.run(lambda db: self.models.open_letter(db, command_id))
        if row is None:
            known = f"it is {_named(letter)}" if letter else "done commands are kept for 7 days"
            raise NotFound(f"there is no command {command_id[:100]}; {known}")
        view = command_view(row)
        if letter:
            view["error"]["message"] += f"; it is {_named(letter)}"
        return Answer(200, {"command": view})

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


def _named(letter: Mapping[str, Any]) -> str:
    return f"dead letter {letter['id']}, {letter['reason']}"


def _filters(query: Mapping[str, Any]) -> Filters:
    return Filters(**{parameter.name: query[parameter.name] for parameter in FILTERS})


def _viewer(query: Mapping[str, Any]) -> Viewer | None:
    kind, who = query["viewer_type"], query["viewer_id"]
    if (kind is None) != (who is None):
        raise Malformed(
            "viewer_type and viewer_id go together", fields={name: ["go together"] for name in _VIEWER_NAMES}
        )
    return None if kind is None or who is None else Viewer(kind, who)
