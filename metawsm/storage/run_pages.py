"""Reading runs: a page of them, and one with everything that is known about it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs

from metawsm.bus import cursors
from metawsm.bus.ports import Db
from metawsm.bus.reading import Filters
from metawsm.domain.operator import OperatorLimits, decide
from metawsm.domain.run import Run, RunAgent
from metawsm.domain.run_states import OVER
from metawsm.domain.run_view import run_view
from metawsm.projections import thread_stats, thread_views
from metawsm.projections.agent_inbox import unread_count
from metawsm.storage.run_rows import find_run

_END = 2**62
_PAGE_COLUMNS = ("run_id", "mode", "state", "state_since", "reason", "round", "created_at", "updated_at")
_PAGE = f"""
SELECT {", ".join(f"r.{name}" for name in _PAGE_COLUMNS)}, r.created_sequence,
    (SELECT json_group_array(ticket ORDER BY position) FROM run_tickets t WHERE t.run_id = r.run_id),
    (SELECT count(*) FROM agents a WHERE a.run_id = r.run_id),
    (SELECT coalesce(sum(open_requests), 0) FROM agents a WHERE a.run_id = r.run_id)
FROM runs r
"""
_OF_TICKET = "r.created_sequence IN (SELECT created_sequence FROM run_tickets WHERE ticket = :ticket)"
_MEASURES = "SELECT agent_name, last_activity_at, last_progress_at FROM agent_measures WHERE run_id = ?"
_CHECKOUTS = """
SELECT workspace, repo, files_json, more, error, last_change_at, ahead, measured_at FROM checkout_measures
WHERE run_id = ? ORDER BY workspace, repo
"""
_SYNCS = "SELECT ticket, workspace, status, revision, error, updated_at FROM doc_sync_states WHERE run_id = ?"
_REQUESTS = "SELECT open_requests FROM forum_threads WHERE thread_id = ?"
_POST = "SELECT body, created_at FROM forum_posts WHERE post_id = ?"
THREADS = 5  # of the forum's queue that a run shows


def runs_page(
    db: Db, ticket: str | None, state: str | None, active: bool, limit: int, cursor: str | None
) -> dict[str, Any]:
    """`{runs, next_cursor?}`: the newest first. `active`: only runs that are not over. Raises Malformed."""
    question = cursors.fingerprint("runs", ticket, state, active)
    before = cursors.decode(cursor, question, (int,))[0] if cursor else _END
    has = ["r.created_sequence < :before"]
    has += [_OF_TICKET] if ticket is not None else []
    has += ["r.state = :state"] if state is not None else []
    has += [f"r.state NOT IN ({', '.join(repr(each) for each in OVER)})"] if active else []
    sql = f"{_PAGE} WHERE {' AND '.join(has)} ORDER BY r.created_sequence DESC LIMIT :limit"
    rows = list(db.execute(sql, {"before": before, "ticket": ticket, "state": state, "limit": limit + 1}))
    page: dict[str, Any] = {"runs": [_summary(row) for row in rows[:limit]]}
    place = len(_PAGE_COLUMNS)
    return page | ({"next_cursor": cursors.encode(question, (rows[limit - 1][place],))} if len(rows) > limit else {})


def _summary(row: Any) -> dict[str, Any]:
    told = {name: value for name, value in zip(_PAGE_COLUMNS, row, strict=False) if value is not None}
    _, tickets, agents, requests = row[len(_PAGE_COLUMNS) :]
    return told | {"tickets": json.loads(tickets), "agents_count": agents, "open_requests": requests}


def run_detail(
    db: Db, run_id: str, *, escalation_minutes: int, limits: OperatorLimits, stale: float, now: str, due: str
) -> dict[str, Any] | None:
    """A run whole: its view, what was measured of it, its documents, its open questions; None if there is none.

    `stale` is the age in seconds from which copied documents are warned about.
    """
    run = find_run(db, run_id)
    if run is None:
        return None
    told = run_view(run)
    docs = [_full(dict(zip(_SYNC_NAMES, row, strict=True))) for row in db.execute(_SYNCS, (run_id,))]
    measures = {name: (activity, progress) for name, activity, progress in db.execute(_MEASURES, (run_id,))}
    for agent in told["agents"]:
        activity, progress = measures.get(agent["name"], (None, None))
        agent.update(_full({"last_activity_at": activity, "last_progress_at": progress}))
        agent["unread_answers"] = unread_count(db, agent["name"], run_id)
    return told | {
        "checkouts": [_checkout(row) for row in db.execute(_CHECKOUTS, (run_id,))],
        "docs": docs,
        "warnings": _warnings(run, docs, stale, now),
        "guidance": [asked for agent in run.agents if agent.open_requests for asked in _guidance(db, agent)],
        "forum": _forum(db, run, escalation_minutes, now, due),
        "operator": attrs.asdict(decide(run, limits, now)),
    }


_SYNC_NAMES = ("ticket", "workspace", "status", "revision", "error", "updated_at")


def _warnings(run: Run, docs: list[dict[str, Any]], stale: float, now: str) -> list[str]:
    """What is wrong with the copies of documents, as far as the run works on them."""
    if not run.seeded or run.state == "closed":
        return []
    found = [
        f"documents of {sync['ticket']} in {sync['workspace']}: {sync.get('error') or 'not copied yet'}"
        for sync in docs
        if sync["status"] != "synced"
    ]
    newest = max((sync["updated_at"] for sync in docs if sync["status"] == "synced"), default=None)
    if newest is None:
        return [*found, "no documents have been copied yet"]
    age = (datetime.fromisoformat(now) - datetime.fromisoformat(newest)).total_seconds()
    return [*found, f"documents were copied {age / 60:.0f} min ago"] if age > stale else found


def _checkout(row: Any) -> dict[str, Any]:
    workspace, repo, files, more, error, changed, ahead, measured = row
    told = {"workspace": workspace, "repo": repo, "files": json.loads(files), "more": more, "measured_at": measured}
    return told | _full({"error": error, "last_change_at": changed, "ahead": ahead})


def _guidance(db: Db, agent: RunAgent) -> list[dict[str, Any]]:
    """An agent's open requests, the oldest first."""
    thread_id = agent.control_thread
    requests: list[str] = next((json.loads(row[0] or "[]") for row in db.execute(_REQUESTS, (thread_id,))), [])
    found = ((post_id, *next(iter(db.execute(_POST, (post_id,))), ("", None))) for post_id in requests)
    return [
        {"agent": agent.name, "thread_id": thread_id, "post_id": post_id, "question": body, "asked_at": at}
        for post_id, body, at in found
    ]


def _forum(db: Db, run: Run, minutes: int, now: str, due: str) -> dict[str, Any]:
    """The run's threads: how many wait, and the most pressing ones."""
    filters = Filters(run_id=run.run_id)
    page = thread_views.list_threads(db, filters, THREADS, None, escalation_minutes=minutes, now=now, sort="attention")
    counted = thread_stats.stats(db, None, run.run_id, 100, None, due=due)
    states: dict[str, int] = {}
    for row in counted["stats"]:
        states[row["state"]] = states.get(row["state"], 0) + row["thread_count"]
    return {"states": states, "sla": counted["sla"], "threads": page["threads"]}


def _full(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
