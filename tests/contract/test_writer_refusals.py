"""What a refused job leaves behind: nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import apsw
import pytest

from metawsm.bus.ports import Db
from metawsm.domain.errors import MetawsmError, NotFound
from tests.contract.writer_suite import Lab, wait_for


class Body:
    """What a request has brought."""


def refuse(_: Db) -> None:
    """Say no."""
    raise NotFound("no such thing")


def refuse_for_a_reason(_: Db) -> None:
    """Say no because of something else."""
    try:
        raise NotFound("the cause")
    except NotFound as error:
        raise NotFound("no such thing") from error


def fill_the_disk(db: Db) -> None:
    """There is no room for it."""
    db.execute("PRAGMA max_page_count = 1")
    for _ in range(1000):
        db.execute("INSERT INTO item (value) VALUES (zeroblob(4000))")


@pytest.mark.parametrize("kind", ["hub", "thread"])
@pytest.mark.parametrize("job", [refuse, refuse_for_a_reason, fill_the_disk])
def test_a_refusal_does_not_keep_what_the_request_has_brought(
    job: Callable[[Db], None], kind: Literal["hub", "thread"], tmp_path: Path
) -> None:
    """It goes with the caller, without the garbage collector's help."""
    lab, gone = Lab(tmp_path / "db", kind), []

    def call() -> None:
        body = Body()
        gone.append(weakref.ref(body))

        def run(db: Db) -> Body:
            job(db)
            return body

        with suppress(MetawsmError, apsw.FullError):
            lab.writer.run(run)

    gc.disable()
    try:
        call()
        wait_for(lambda: [each() for each in gone] == [None])
    finally:
        gc.enable()
        lab.writer.close()
