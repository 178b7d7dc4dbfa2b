"""`import` that is killed (SIGKILL) at a chosen point: `python -m tests.support.dying_import POINT DATABASE`.

POINT is `progress-N` (after the N-th chunk), `before-rename-N` or `after-rename-N`: the renames are those of the copy,
the report and the new database, in this order. Python's audit events tell when one happens: the product is as it is.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from metawsm.storage.go_import import take_over

POINTS = (
    "progress-1", "progress-2", "progress-4", "progress-5", "before-rename-1", "after-rename-1", "before-rename-2",
    "after-rename-2", "before-rename-3", "after-rename-3",
)  # fmt: skip


def main(point: str, database: str) -> None:
    """Import, and die on the way."""
    what, _, number = point.rpartition("-")
    seen = {"rename": 0, "progress": 0}

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: Any) -> None:
        if event == "open" and what == "after-rename" and seen["rename"] >= int(number):
            die()
        if event == "os.rename":
            seen["rename"] += 1
            if what == "before-rename" and seen["rename"] == int(number):
                die()

    def progress(table: str, done: int, total: int) -> None:
        seen["progress"] += 1
        if what == "progress" and seen["progress"] == int(number):
            die()

    sys.addaudithook(hear)
    take_over(Path(database), Path(database), dry_run=False, progress=progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
