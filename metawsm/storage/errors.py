"""The one place where SQLite's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from metawsm.domain.errors import Unavailable

# What happened and what to do, per driver exception. An exception that is not listed is a bug and passes through.
_ADVICE: dict[type[apsw.Error], str] = {
    apsw.BusyError: "database is locked: another process holds {database}; end that process or wait",
    apsw.LockedError: "database is locked: another statement of this process holds {database}; try again",
    apsw.FullError: "database {database} cannot grow, the disk is full; free some space",
    apsw.IOError: "database {database} cannot be read or written ({error}); check the disk and the space on it",
    apsw.ReadOnlyError: "database {database} is read-only ({error}); make the file and its folder writable",
    apsw.CantOpenError: "database {database} cannot be opened ({error}); file and folder must exist and be writable",
    apsw.PermissionsError: "database {database} may not be used by this user ({error}); check the owner and the mode",
    apsw.CorruptError: "database {database} is damaged ({error}); stop the daemon and restore a backup",
    apsw.NotADBError: "database {database} is not a SQLite database; name another file or restore a backup",
    apsw.NoMemError: "database {database} cannot be used: memory ran out",
    apsw.InterruptError: "database {database} was asked a question that took too long; narrow it down",
    apsw.NoLFSError: "database {database} is too large for this file system",
    apsw.SchemaChangeError: "database {database} changed its tables just now; try again",
}


def translate(error: Exception, database: str) -> Exception:
    """Turn a driver error into Unavailable with advice; return anything else (a bug, or one of ours) unchanged.

    `database` is the file's name as people know it.
    """
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            told = Unavailable(advice.format(database=database, error=error))
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
