"""SQLite's settings for the whole daemon, asked of a process of their own: they cannot be changed later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LOOK = """
import apsw
from metawsm.storage.connection import open_writer, tune_sqlite
tune_sqlite()
db = open_writer("db")
for n in range(300):
    db.execute(f"SELECT 1 WHERE {n} = 1")
print(apsw.memory_used(), db.status(apsw.SQLITE_DBSTATUS_LOOKASIDE_USED)[1])
"""


def test_memory_is_not_counted_and_small_allocations_have_their_place(tmp_path: Path) -> None:
    """By default it is counted, and a connection has 123 places."""
    source = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    found = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, env=source, capture_output=True, text=True, check=True
    )
    counted, places = map(int, found.stdout.split())
    assert counted == 0
    assert places > 400
