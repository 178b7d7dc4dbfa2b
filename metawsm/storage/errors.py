"""The one place where SQLite's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from metawsm.domain.errors import Unavailable

# What happened and what to do, per driver exception. An exception that is not listed is a bug and passes through.
_ADVICE: dict[type[apsw.Error], str] = {
    apsw.BusyError: "is locked: another process holds it; end that process or wait",
    apsw.LockedError: "is locked by another statement of this process; try again",
    apsw.FullError: "cannot grow, the disk is full; free some space",
    apsw.IOError: "cannot be read or written ({error}); check the disk and the space on it",
    apsw.ReadOnlyError: "is read-only ({error}); make the file and its folder writable",
    apsw.CantOpenError: "cannot be opened ({error}); check that the file and its folder exist and are writable",
    apsw.PermissionsError: "may not be used by this user ({error}); check the owner and the mode",
    apsw.CorruptError: "is damaged ({error}); stop the daemon and restore a backup",
    apsw.NotADBError: "is not a SQLite database; name another file or restore a backup",
    apsw.NoMemError: "cannot be used: memory ran out",
    apsw.InterruptError: "was asked a question that took too long; narrow it down",
    apsw.NoLFSError: "is too large for this file system",
    apsw.SchemaChangeError: "changed its tables just now; try again",
}


def translate(error: Exception, database: str) -> Exception:
    """Turn a driver error into Unavailable with advice; return anything else (a bug, or one of ours) unchanged.

    `database` is the file's name as people know it.
    """
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            told = Unavailable(f"database {database} {advice.format(error=error)}")
            told.__cause__ = error
            return told
    return error


@contextmanager
def translated(database: str) -> Iterator[None]:
    """Raise what `translate` makes of any driver error inside the block."""
    try:
        yield
    except apsw.Error as error:
        told = translate(error, database)
        if told is error:
            raise
        raise told from error
