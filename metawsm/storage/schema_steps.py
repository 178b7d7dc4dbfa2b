"""Every step of the schema, in order."""

from __future__ import annotations

from collections.abc import Callable

from metawsm.bus.ports import Db
from metawsm.storage import schema
from metawsm.storage.migrations import Migration


def _script(text: str) -> Callable[[Db], None]:
    def run(db: Db) -> None:
        for _ in db.execute(text):
            pass

    return run


def _lean(db: Db) -> None:
    _script(schema.LEAN)(db)
    schema.spell_out_status(db)


STEPS = (
    Migration(1, "the forum", _script(schema.FIRST)),
    Migration(2, "ended outbox rows by age", _script(schema.PRUNING)),
    Migration(3, "dead letters end", _script(schema.LETTERS)),
    Migration(4, "large dead letters", _script(schema.LARGE_LETTERS)),
    Migration(5, "receipts of answers", _script(schema.RECEIPTS)),
    Migration(6, "runs and jobs", _script(schema.RUNS)),
    Migration(7, "less to write for each command", _lean),
    Migration(8, "commits ahead of the base", _script(schema.AHEAD)),
)
