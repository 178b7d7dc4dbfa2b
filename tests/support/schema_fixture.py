"""Databases of earlier schema versions as SQL text: `python -m tests.support.schema_fixture 2` writes version 2.

A real daemon fills a database. Its tables of truth are then written down as the given version has them. The read models
are left out: they are never migrated, and the text says of them that they are outdated, so that they are made anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw

from metawsm.projections import ALL
from metawsm.storage.connection import open_writer
from metawsm.storage.migrations import migrate
from metawsm.storage.schema_steps import STEPS
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.runs_lab import Lab

SEEDED = {"docs": {"seed_mode": "copy_from_repo_on_start"}}
READ_MODELS = tuple(table for spec in ALL for table in spec.tables)
SCHEMA = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid"
# Programs before schema version 3 did not write down which program made the schema.
UNSIGNED = "DELETE FROM metawsm_meta WHERE name = 'schema_program'"
OUTDATED = "UPDATE projection_cursors SET version = 0, sequence = 0"


def load(text: str, path: Path) -> None:
    """Make the database that a text describes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = apsw.Connection(str(path))
    for _ in db.execute(text):
        pass
    db.close()


def schema(db: apsw.Connection) -> set[tuple[Any, ...]]:
    """Tables, indexes and views of truth, as their statements say."""
    return {row for row in db.execute(SCHEMA) if not row[1].startswith(READ_MODELS)}


def contents(db: apsw.Connection) -> dict[str, list[dict[str, Any]]]:
    """The rows of all tables of truth, by column."""
    names = [name for kind, name, _ in db.execute(SCHEMA) if kind == "table" and not name.startswith(READ_MODELS)]
    return {name: _rows(db, name) for name in names}


def _rows(db: apsw.Connection, table: str) -> list[dict[str, Any]]:
    columns = [str(name) for (name,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    return [dict(zip(columns, row, strict=True)) for row in db.execute(f"SELECT * FROM {table}")]


def dump(path: Path, version: int) -> str:
    """A database of today as the text of one of an earlier version."""
    with TemporaryDirectory() as folder:
        old = open_writer(Path(folder, "old.db"))
        migrate(old, STEPS[:version])
        old.execute("DELETE FROM metawsm_meta; DELETE FROM schema_migrations; ATTACH ? AS today", (str(path),))
        for table in contents(old):
            here, there = (_columns(old, name, table) for name in ("main", "today"))
            shared = ", ".join(name for name in here if name in there)
            where = f"WHERE version <= {version}" if table == "schema_migrations" else ""
            old.execute(f"INSERT INTO {table} ({shared}) SELECT {shared} FROM today.{table} {where}")
        old.execute(OUTDATED)
        if version < 3:
            old.execute(UNSIGNED)
        text = _text(old)
        old.close()
    return text


def _columns(db: apsw.Connection, schema_name: str, table: str) -> list[str]:
    return [str(row[1]) for row in db.execute(f"PRAGMA {schema_name}.table_info({table})")]


def _text(db: apsw.Connection) -> str:
    marks = ("application_id", "user_version")
    lines = [f"PRAGMA {mark} = {db.pragma(mark)};" for mark in marks]
    lines += [f"{sql};" for _, name, sql in db.execute(SCHEMA) if not name.startswith(READ_MODELS)]
    for table in [*contents(db), "sqlite_sequence"]:
        if table == "sqlite_sequence":
            lines.append("DELETE FROM sqlite_sequence;")
        held = db.execute(f"SELECT * FROM {table}")
        lines += [f"INSERT INTO {table} VALUES ({', '.join(map(apsw.format_sql_value, row))});" for row in held]
    return "\n".join(["BEGIN;", *lines, "COMMIT;", ""])


def fill(folder: Path) -> Path:
    """Let a daemon write every kind of row of truth; the last command is accepted and not done."""
    with Lab(folder, agents={"bob": "#!/bin/sh\nexec sleep 100\n"}, policy=SEEDED) as lab:
        _write(lab.daemon)
        _run(lab)
    late = Daemon(None, folder, "--redis", "redis://127.0.0.1:1/0", needs_redis=False)
    try:
        late.request("POST", "/forum/threads?wait=0", _question("The last one", "not done yet"))
    finally:
        late.end()
    return late.database


def _write(daemon: Daemon) -> None:
    key = {"Idempotency-Key": "first"}
    asked = daemon.request("POST", "/forum/threads", _question("Which schema?", "an aardvark, v1?\nor 'v2'?"), key)
    thread = asked.body["thread"]["thread_id"]
    person = {"actor_type": "operator", "actor_name": "op"}
    for action, body in (
        ("posts", {"body": "caf\u00e9"}), ("assign", {"assignee_type": "human", "assignee_name": "kb"}),
        ("priority", {"priority": "urgent"}), ("answer", {"body": "v2"}), ("close", {"reason": "done"}),
        ("seen", {"viewer_type": "human", "viewer_id": "kb"}),
    ):  # fmt: skip
        assert daemon.request("POST", f"/forum/threads/{thread}/{action}", body | person).status == 200, action
    reader = {"actor_type": "agent", "actor_name": "ann"}
    assert daemon.request("POST", f"/forum/threads/{thread}/read", reader).status == 200
    signal = {"run_id": "run-1", "ticket": "M-1", "agent_name": "ann", "actor_type": "agent"}
    for payload in ({"control_type": "guidance_request", "question": "port?"}, {"control_type": "completion"}):
        assert daemon.request("POST", "/forum/control/signal", signal | {"payload": payload}).status == 200
    db = apsw.Connection(str(daemon.database))
    db.execute(
        "INSERT INTO dead_letters (reason, error, attempts, handler, consumer_group, topic, entry_id, payload,"
        " first_failed_at, last_failed_at) VALUES ('malformed', 'no uuid', 1, 'receive', 'metawsm-forum',"
        " 'forum.commands.add_post', '1-0', x'00ff', '2026-11-22T13:00:00.000000Z', '2026-11-22T13:00:00.000000Z')"
    )
    db.close()


def _run(lab: Lab) -> None:
    """A run that was at work and was looked at."""
    lab.until(lab.bootstrap(run_id="run-7"), "running")
    measured = "SELECT (SELECT count(*) FROM agent_measures), (SELECT count(*) FROM checkout_measures)"
    eventually(lambda: min(lab.rows(measured)[0]) > 0, timeout=20, interval=0.2)
    lab.post("/runs/run-7/stop")
    lab.until("run-7", "stopped")


def _question(title: str, body: str) -> dict[str, str]:
    return {"ticket": "M-1", "title": title, "body": body, "actor_type": "agent", "actor_name": "ann"}


if __name__ == "__main__":
    with TemporaryDirectory() as home:
        sys.stdout.write(dump(fill(Path(home)), int(sys.argv[1])).replace(home, "/srv/project"))
