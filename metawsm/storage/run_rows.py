"""Runs as rows of `runs`, `run_tickets`, `run_briefs`, `steps`, `agents` and `doc_sync_states`, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from metawsm.bus.ports import Db, Row
from metawsm.domain.run import SEED_DOCS, Run, RunAgent, Step
from metawsm.domain.run_events import Brief, Workspace
from metawsm.messages.json_text import to_json

_RUN = (
    "run_id", "mode", "state", "state_since", "reason", "round", "repos_json", "doc_home_repo", "base", "strategy",
    "seeded", "workspaces_json", "repositories_json", "action_from", "created_at", "created_by_type", "created_by_name",
    "updated_at", "last_event_sequence",
)  # fmt: skip
_STEP = (
    "action", "kind", "name", "args_json", "state", "attempts", "error", "result_json", "started_at", "ended_at",
)  # fmt: skip
_AGENT = (
    "agent_name", "profile", "ticket", "workspace", "session", "state", "state_since", "reason", "exit_code",
    "control_thread", "open_requests", "completed", "validation", "done_criteria", "round_sequence", "restarts",
    "restarted_at", "folder",
)  # fmt: skip
_BRIEF = ("goal", "scope", "done_criteria", "constraints", "merge_intent")
_SYNC = ("run_id", "ticket", "workspace", "status", "revision", "error", "updated_at")


def _upsert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


_FIND_RUN = f"SELECT {', '.join(_RUN)} FROM runs WHERE run_id = ?"
_INSERT_RUN = _upsert("runs", ("created_sequence", *_RUN))
_UPDATE_RUN = f"UPDATE runs SET {', '.join(f'{name} = ?' for name in _RUN[1:])} WHERE run_id = ?"
_FIND_TICKETS = "SELECT ticket FROM run_tickets WHERE run_id = ? ORDER BY position"
_FIND_STEPS = f"SELECT step_index, {', '.join(_STEP)} FROM steps WHERE run_id = ? ORDER BY step_index"
_FIND_AGENTS = f"SELECT {', '.join(_AGENT)} FROM agents WHERE run_id = ? ORDER BY position"
_FIND_BRIEF = f"SELECT {', '.join(_BRIEF)} FROM run_briefs WHERE run_id = ?"
_SAVE_STEP = _upsert("steps", ("run_id", "step_index", *_STEP))
_SAVE_AGENT = _upsert("agents", ("run_id", "position", *_AGENT))
_SAVE_BRIEF = _upsert("run_briefs", ("run_id", *_BRIEF, "created_at"))
_SAVE_SYNC = _upsert("doc_sync_states", _SYNC)
_SAVE_TICKET = "INSERT INTO run_tickets (run_id, position, ticket, created_sequence) VALUES (?, ?, ?, ?)"
_SYNC_STATUS = {"done": "synced", "failed": "failed"}


def find_run(db: Db, run_id: str) -> Run | None:
    """The run, or None."""
    for row in db.execute(_FIND_RUN, (run_id,)):
        return _run(db, dict(zip(_RUN, row, strict=True)))
    return None


def _run(db: Db, row: dict[str, Any]) -> Run:
    run_id = row["run_id"]
    workspaces = (Workspace(**each) for each in json.loads(row.pop("workspaces_json")))
    return Run(
        repos=tuple(json.loads(row.pop("repos_json"))),
        workspaces=tuple(workspaces),
        repositories=json.loads(row.pop("repositories_json")),
        seeded=bool(row.pop("seeded")),
        tickets=tuple(str(ticket) for (ticket,) in db.execute(_FIND_TICKETS, (run_id,))),
        steps=tuple(_step(each) for each in db.execute(_FIND_STEPS, (run_id,))),
        agents=tuple(_agent(each) for each in db.execute(_FIND_AGENTS, (run_id,))),
        brief=next((Brief(*each) for each in db.execute(_FIND_BRIEF, (run_id,))), None),
        **row,
    )


def _step(row: Row) -> Step:
    index, action, kind, name, args, state, attempts, error, result, started, ended = row
    told = json.loads(result) if result else None
    return Step(index, action, kind, name, json.loads(args), state, attempts, error, told, started, ended)


def _agent(row: Row) -> RunAgent:
    values = dict(zip(_AGENT, row, strict=True))
    values["completed"] = bool(values["completed"])
    return RunAgent(name=values.pop("agent_name"), **values)


def save_run(db: Db, before: Run | None, run: Run) -> None:
    """Insert the run's rows, or update those that changed."""
    values = [_value(run, name) for name in _RUN]
    if before is None:
        sequence = run.last_event_sequence  # of the commit that made it: it orders the runs by age
        db.execute(_INSERT_RUN, (sequence, *values))
        for position, ticket in enumerate(run.tickets):
            db.execute(_SAVE_TICKET, (run.run_id, position, ticket, sequence))
        if run.brief is not None:
            db.execute(_SAVE_BRIEF, (run.run_id, *attrs.astuple(run.brief), run.created_at))
    else:
        db.execute(_UPDATE_RUN, (*values[1:], run.run_id))
    _save_steps(db, before, run)
    for position, agent in _changed(before.agents if before else (), run.agents):
        db.execute(_SAVE_AGENT, (run.run_id, position, *_agent_row(agent)))


def _value(run: Run, column: str) -> Any:
    match column:
        case "repos_json":
            return to_json(run.repos)
        case "workspaces_json":
            return to_json([attrs.asdict(each) for each in run.workspaces])
        case "repositories_json":
            return to_json(run.repositories)
        case _:
            return getattr(run, column)


def _save_steps(db: Db, before: Run | None, run: Run) -> None:
    for _, step in _changed(before.steps if before else (), run.steps):
        result = None if step.result is None else to_json(step.result)
        db.execute(
            _SAVE_STEP,
            (run.run_id, step.index, step.action, step.kind, step.name, to_json(step.args), step.state, step.attempts,
             step.error, result, step.started_at, step.ended_at),
        )  # fmt: skip
        if step.kind == SEED_DOCS:
            status, revision = _SYNC_STATUS.get(step.state, "pending"), (step.result or {}).get("revision")
            where = (run.run_id, step.args["ticket"], step.args["workspace"])
            db.execute(_SAVE_SYNC, (*where, status, revision, step.error, run.updated_at))


def _agent_row(agent: RunAgent) -> list[Any]:
    return [getattr(agent, "name" if column == "agent_name" else column) for column in _AGENT]


def _changed(before: Sequence[Any], after: Sequence[Any]) -> Iterable[tuple[int, Any]]:
    """Those that are new or differ, each with its place."""
    return ((n, each) for n, each in enumerate(after) if n >= len(before) or before[n] != each)
