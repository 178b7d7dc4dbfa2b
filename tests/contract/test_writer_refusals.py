"""What a refused job leaves behind: nothing."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from metawsm.bus.ports import Db
from metawsm.domain.errors import NotFound
from tests.contract.writer_suite import Lab, wait_for


@pytest.mark.parametrize("kind", ["hub", "thread"])
def test_a_refusal_does_not_outlive_its_caller(kind: Literal["hub", "thread"], tmp_path: Path) -> None:
    """The error, and with it what its frames hold, goes without the garbage collector's help."""
    lab, gone = Lab(tmp_path / "db", kind), []

    def refuse(_: Db) -> None:
        error = NotFound("no such thing")
        gone.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gc.disable()
    try:
        with suppress(NotFound):
            lab.writer.run(refuse)
        wait_for(lambda: [each() for each in gone] == [None])
    finally:
        gc.enable()
        lab.writer.close()
