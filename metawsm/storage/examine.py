"""Looking at a database that nobody may serve yet: what it holds, and whether it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
from attrs import asdict, frozen

from metawsm.domain.errors import NotFound, Refused, Unavailable
from metawsm.storage.backup_files import Owner, digest_in, digest_of, file_errors
from metawsm.storage.errors import translated
from metawsm.storage.identity import APPLICATION_ID, application_id, refuse_foreign
from metawsm.storage.migrations import schema_program, schema_version
from metawsm.storage.schema_steps import STEPS

_BUSY_MS = 5000
_STEPS = 20_000  # of SQLite's machine between two looks at whether to go on
_FAULTS = 5  # of a kind are named
_HEAD = "SELECT coalesce(max(sequence), 0) FROM forum_events"
_COUNTS = {
    "threads": "SELECT count(*) FROM forum_threads",
    "posts": "SELECT count(*) FROM forum_posts",
    "events": "SELECT count(*) FROM forum_events",
    "undone_commands": "SELECT count(*) FROM forum_outbox WHERE kind = 'command' AND status IN ('pending', 'sent')",
    "open_dead_letters": "SELECT count(*) FROM dead_letters WHERE status = 'open'",
}
# What SQLite does not know, and each query finds what contradicts it.
_RULES = {
    "the schema's version is not that of its ledger": """
        SELECT 1 FROM (SELECT max(version) AS newest FROM schema_migrations)
        WHERE newest IS NOT (SELECT user_version FROM pragma_user_version)""",
    "a sequence or outbox id could be given twice": f"""
        SELECT 1 WHERE coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'forum_events'), 0) < ({_HEAD})
        OR coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'forum_outbox'), 0)
            < (SELECT coalesce(max(id), 0) FROM forum_outbox)""",
    "a read model is ahead of the log": f"SELECT 1 FROM projection_cursors WHERE sequence > ({_HEAD})",
    "an event that is to be published is not in the log": """
        SELECT 1 FROM forum_outbox o WHERE kind = 'event'
        AND NOT EXISTS (SELECT 1 FROM forum_events e WHERE e.sequence = o.sequence AND e.event_id = o.message_id)""",
    "a thread has a newest event that is not in the log": """
        SELECT 1 FROM forum_threads t WHERE NOT EXISTS (
            SELECT 1 FROM forum_events e WHERE e.sequence = t.last_event_sequence AND e.thread_id = t.thread_id)""",
}


@frozen
class Facts:
    """What a database holds. `head_sequence` is the newest event; `sequence_top` and so on the highest ever given.

    One that was never served has no id yet: an empty text, and epoch 0.
    """

    schema_version: int
    database_id: str
    epoch: int
    head_sequence: int
    sequence_top: int
    outbox_top: int
    dead_letter_top: int
    counts: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """The members that REST and `--json` show."""
        shown = asdict(self)
        return {name: shown[name] for name in ("schema_version", "database_id", "epoch", "head_sequence", "counts")}


class Damaged(Refused):
    """A file that is broken in itself, so that no waiting mends it."""


def never() -> bool:
    """Nobody wants it to stop."""
    return False


def facts(connection: apsw.Connection) -> Facts:
    """Read them. Raises Refused when it is no database of ours."""
    version = schema_version(connection)
    if application_id(connection) != APPLICATION_ID or version == 0:
        raise Refused(f"{connection.db_filename('main')} is not a database of metawsm")
    named = {str(name): str(value) for name, value in connection.execute("SELECT name, value FROM metawsm_meta")}
    tops = {str(name): int(top) for name, top in connection.execute("SELECT name, seq FROM sqlite_sequence")}
    return Facts(
        schema_version=version,
        database_id=named.get("database_id", ""),
        epoch=int(named.get("epoch", 0)),
        head_sequence=_one(connection, _HEAD),
        sequence_top=tops.get("forum_events", 0),
        outbox_top=tops.get("forum_outbox", 0),
        dead_letter_top=tops.get("dead_letters", 0),
        counts={name: _one(connection, query) for name, query in _COUNTS.items()},
    )


def owner_of(database: Path) -> Owner:
    """Whose backups are those of this database; without an id when it is missing or cannot be read."""
    place = str(database.resolve())
    try:
        with opened(database) as connection:
            found = list(connection.execute("SELECT value FROM metawsm_meta WHERE name = 'database_id'"))
    except (Refused, Unavailable):
        found = []
    return Owner(place, str(found[0][0]) if found else "")


def examine(file: Path, is_cancelled: Callable[[], bool] = never) -> Facts:
    """Read a whole file without changing it, and tell what it holds.

    Raises NotFound; Damaged, naming what is wrong; Refused for one that is not ours, or of a newer
    schema; Unavailable if it cannot be read now.
    """
    if not file.is_file():
        raise NotFound(f"there is no file {file}; `metawsm.pyz backup list` shows the backups")
    _check_digest(file, is_cancelled)
    with opened(file, is_cancelled) as connection:
        refuse_foreign(connection, str(file))
        _refuse_newer(connection, file)
        found = _faults_of_sqlite(connection)
        if found:
            raise damaged(file, "; ".join(found))
        told = facts(connection)
        broken = [rule for rule, query in _RULES.items() if any(connection.execute(query + " LIMIT 1"))]
    if broken:
        raise damaged(file, "; ".join(broken))
    return told


def _refuse_newer(connection: apsw.Connection, file: Path) -> None:
    version = schema_version(connection)
    if version > len(STEPS):
        wanted = f"metawsm.pyz {schema_program(connection) or 'of the version that made it'}"
        raise Refused(
            f"{file} has schema version {version}, this program knows versions up to {len(STEPS)}; "
            f"install {wanted} or newer, or use an older backup"
        )


def damaged(file: Path, what: str) -> Damaged:
    """The error for a file that must not be used."""
    return Damaged(f"{file} is damaged: {what}; use another backup (`metawsm.pyz backup list`)")


@contextmanager
def opened(file: Path, is_cancelled: Callable[[], bool] = never) -> Iterator[apsw.Connection]:
    """A connection that only reads; what it finds broken becomes Damaged, other faults Unavailable.

    Without a write-ahead log beside it a file is taken as one that nobody writes, so that nothing is made beside it.
    """
    wal = Path(f"{file}-wal")
    options = "" if wal.exists() and wal.stat().st_size else "&immutable=1"
    uri = f"file:{quote(str(file.resolve()))}?mode=ro{options}"
    try:
        with translated(str(file)):
            connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
            try:
                connection.set_busy_timeout(_BUSY_MS)
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.set_progress_handler(is_cancelled, _STEPS)
                yield connection
            finally:
                connection.close()
    except Unavailable as error:
        if isinstance(error.__cause__, apsw.CorruptError | apsw.NotADBError):
            raise damaged(file, str(error.__cause__)) from error
        raise
    except apsw.SQLError as error:  # a table or column is missing
        raise damaged(file, str(error)) from error


def _check_digest(file: Path, is_cancelled: Callable[[], bool]) -> None:
    named = digest_in(file)
    with file_errors(file):
        if named is not None and digest_of(file, is_cancelled) != named:
            raise damaged(file, "its bytes are not those whose checksum stands in its name")


def _faults_of_sqlite(connection: apsw.Connection) -> list[str]:
    whole = connection.execute(f"PRAGMA integrity_check({_FAULTS})")
    found = [str(line).replace("\n", " ") for (line,) in whole if line != "ok"]
    references = connection.execute("SELECT * FROM pragma_foreign_key_check LIMIT ?", (_FAULTS,))
    return found + [f"table {row[0]} refers to a row of {row[2]} that is not there" for row in references]


def _one(connection: apsw.Connection, query: str) -> int:
    return int(next(iter(connection.execute(query)))[0])
