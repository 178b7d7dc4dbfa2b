"""Every step of the schema, in order."""

from __future__ import annotations

from metawsm.bus.ports import Db
from metawsm.storage import schema
from metawsm.storage.migrations import Migration


def _first(db: Db) -> None:
    for _ in db.execute(schema.FIRST):
        pass


STEPS = (Migration(1, "the forum", _first),)
