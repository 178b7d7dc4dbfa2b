"""A process whose database lies on a tiny disk that fills up, and is emptied again; it prints what happened as JSON.

Run as `python -m tests.support.storage_full_disk FOLDER KIND` in a mount namespace of its own, with a small file
system at FOLDER.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Literal, cast

from metawsm.domain.errors import MetawsmError
from metawsm.storage.choose import make_writer
from metawsm.storage.maintenance import free_disk
from tests.support.storage_lab import insert, item_database, values


def main(folder: Path, kind: Literal["hub", "thread"]) -> None:
    """Write until refused, three more times, then make room and write again."""
    database, filler = folder / "db", folder / "filler"
    writer = make_writer(database, kind=kind, connection=item_database(database))
    filler.write_bytes(bytes(free_disk(database) // 2))
    stored: list[int] = []
    errors: list[str] = []
    for number in range(100_000):
        try:
            writer.run(partial(insert, value=f"{number}:{'x' * 2000}"))
            stored.append(number)
        except MetawsmError as error:
            errors.append(f"{error.code}: {error.message}")
        if len(errors) == 4:
            break
    filler.unlink()
    writer.run(partial(insert, value="-1:after"))
    found = [int(str(value).split(":")[0]) for value in values(database)]
    check = writer.run(lambda db: db.execute("PRAGMA integrity_check"))
    writer.close()
    print(json.dumps({"stored": stored, "errors": errors, "found": found, "check": check}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), cast('Literal["hub", "thread"]', sys.argv[2]))
