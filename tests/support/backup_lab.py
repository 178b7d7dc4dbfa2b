"""What the tests of backups share: a filled database of ours, without a daemon."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from metawsm.domain import actions
from metawsm.storage import meta
from metawsm.storage.backup import create
from metawsm.storage.examine import Facts, facts
from metawsm.storage.schema_steps import STEPS
from tests.support.read_side import Forum

NOW = "2026-11-01T08:00:00.000000Z"


def fill(
    path: Path, threads: int = 12, database_id: str = "db-one", schema: int = len(STEPS), body: str = "b"
) -> Facts:
    """Make a database with answered threads, read models and one command to be done; tell what it holds."""
    forum = Forum(path, STEPS[:schema])
    forum.write(lambda: meta.identify(forum.db, database_id))
    for number in range(threads):
        thread = forum.open(body=f"{body} {number}")
        forum.do(thread, actions.answer, f"answer {number}")
    command = ("fcmd-1", "command", "forum.commands.add_post", "fthr-1", "{}", NOW, NOW)
    columns = "message_id, kind, topic, message_key, payload_json, created_at, updated_at"
    forum.write(lambda: forum.db.execute(f"INSERT INTO forum_outbox ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", command))
    forum.apply_all()
    told = facts(forum.db)
    forum.db.close()
    return told


def change(path: Path, *statements: str) -> None:
    """Change a database by hand."""
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What a database answers."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


@contextmanager
def small_files(most: int = 64 * 1024) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a disk that is full or failing."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def backup_of(database: Path, folder: Path, keep: int = 9) -> Path:
    """Make a backup; its file."""
    return create(database, folder, keep).file.path
