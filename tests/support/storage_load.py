"""A process that writes items as fast as it can and notes each acknowledged one in a ledger, until it is killed.

Run as `python -m tests.support.storage_load DATABASE LEDGER KIND FIRST`.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal, cast

import gevent

from metawsm.storage.choose import make_writer
from metawsm.storage.maintenance import Maintenance
from tests.support.storage_lab import insert, item_database

_WRITERS = 32


def main(database: Path, ledger: Path, kind: Literal["hub", "thread"], first: int) -> None:
    """Write from 32 greenlets; a number goes into the ledger after its commit was acknowledged."""
    writer = make_writer(database, kind=kind, connection=item_database(database))
    maintenance = Maintenance(writer, pages=64)
    maintenance.extend()
    descriptor = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    numbers = count(first)

    def write() -> None:
        while True:
            number = next(numbers)
            writer.run(partial(insert, value=number))
            os.write(descriptor, b"%d\n" % number)

    gevent.joinall([gevent.spawn(write) for _ in range(_WRITERS)], raise_error=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), cast('Literal["hub", "thread"]', sys.argv[3]), int(sys.argv[4]))
