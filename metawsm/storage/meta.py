"""`metawsm_meta`: what this database is called."""

from __future__ import annotations

from metawsm.bus.ports import Db
from metawsm.bus.receive import Identity


def touch(db: Db) -> None:
    """A change without meaning, to see whether changes can be stored."""
    db.execute("UPDATE metawsm_meta SET value = value WHERE name = 'epoch'")


def epoch(db: Db) -> int:
    """How often this database's timeline began: 1, and one more with each restore."""
    return int(next((row[0] for row in db.execute("SELECT value FROM metawsm_meta WHERE name = 'epoch'")), 1))


def identify(db: Db, new_id: str) -> Identity:
    """The database's id and epoch; `new_id` becomes the id of a database that has none yet."""
    db.execute("INSERT OR IGNORE INTO metawsm_meta VALUES ('database_id', ?), ('epoch', '1')", (new_id,))
    found = {str(name): str(value) for name, value in db.execute("SELECT name, value FROM metawsm_meta")}
    return Identity(found["database_id"], int(found["epoch"]))
