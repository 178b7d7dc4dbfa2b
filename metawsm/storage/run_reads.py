"""What the daemon looks up about runs and writes down about their agents and checkouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from metawsm.bus.ports import Db
from metawsm.messages.json_text import to_json

_WATCHED = """
SELECT a.run_id, a.agent_name, a.workspace, a.session, a.state, a.state_since, a.folder, m.last_activity_at,
    m.last_progress_at
FROM agents a LEFT JOIN agent_measures m USING (run_id, agent_name)
WHERE a.state IN ('running', 'idle', 'stalled')
"""
_MEASURE = """
INSERT INTO agent_measures (run_id, agent_name, last_activity_at, last_progress_at, measured_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET last_activity_at = coalesce(excluded.last_activity_at, last_activity_at),
    last_progress_at = coalesce(excluded.last_progress_at, last_progress_at), measured_at = excluded.measured_at
"""
_CHECKOUT = """
INSERT OR REPLACE INTO checkout_measures
    (run_id, workspace, repo, files_json, more, error, last_change_at, ahead, measured_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_COUNT_WATCHED = "SELECT count(*) FROM agents WHERE state IN ('running', 'idle', 'stalled')"
_PLACES = """
SELECT r.run_id, r.workspaces_json, r.repositories_json, r.base FROM runs r
WHERE r.last_event_sequence > :since OR :every AND EXISTS (
    SELECT 1 FROM agents a WHERE a.run_id = r.run_id AND a.state IN ('running', 'idle', 'stalled'))
"""
_NEWEST = "SELECT coalesce(max(last_event_sequence), 0) FROM runs"


@frozen
class Watched:
    """An agent whose session is looked at, and what the last look found (RFC 3339)."""

    run_id: str
    name: str
    workspace: str
    session: str
    state: str
    state_since: str
    folder: str | None
    activity_at: str | None
    progress_at: str | None


def watched_agents(db: Db) -> list[Watched]:
    """Every agent that is at work as far as is known."""
    return [Watched(*row) for row in db.execute(_WATCHED)]


def count_watched(db: Db) -> int:
    """How many agents are at work as far as is known."""
    return next(int(count) for (count,) in db.execute(_COUNT_WATCHED))


@frozen
class Places:
    """The checkouts of a run: its workspaces, and its main checkouts by repository, are JSON."""

    run_id: str
    workspaces: str
    repositories: str
    base: str


def watched_places(db: Db, since: int, every: bool) -> list[Places]:
    """Those of runs to which something happened after event `since`; with `every`, of all with an agent at work."""
    return [Places(*row) for row in db.execute(_PLACES, {"since": since, "every": every})]


def newest_of_runs(db: Db) -> int:
    """The newest event of any run; 0 before the first."""
    return next(int(sequence) for (sequence,) in db.execute(_NEWEST))


def save_measures(db: Db, rows: Iterable[tuple[str, str, str | None, str | None]], now: str) -> None:
    """Write down when agents were last active and last got on: run, agent, activity, progress."""
    for run_id, name, activity, progress in rows:
        db.execute(_MEASURE, (run_id, name, activity, progress, now))


def save_checkout(db: Db, place: tuple[str, str, str], told: Mapping[str, Any], now: str) -> None:
    """Write down a checkout's changed files: `place` is run, workspace and repository."""
    values = (to_json(told["files"]), told["more"], told.get("error"), told.get("last_change_at"), told.get("ahead"))
    db.execute(_CHECKOUT, (*place, *values, now))
