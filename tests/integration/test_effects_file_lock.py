"""A lock that lasts as long as any program that keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from metawsm.domain.errors import OutsideError, TimedOut
from metawsm.effects import file_lock, program
from tests.support.eventually import eventually


def test_one_at_a_time(tmp_path: Path) -> None:
    """While it is held nobody else gets it; afterwards nothing of it is left."""
    file = tmp_path / "place" / "lock"
    refused = pytest.raises(TimedOut, match="lock is held by a program of an earlier process")
    with file_lock.held(file, 1), refused, file_lock.held(file, 0.1):
        raise AssertionError
    with file_lock.held(file, 0.1):
        pass
    assert list(file.parent.iterdir()) == []


def test_it_outlives_who_took_it(tmp_path: Path) -> None:
    """A program that keeps it has it for as long as it, or what it started, lives; other programs do not have it."""
    file, go = tmp_path / "lock", tmp_path / "go"
    with file_lock.held(file, 1) as lock:
        program.run(["sh", "-c", f"(while [ ! -e {go} ]; do sleep 0.05; done) >/dev/null 2>&1 &"])
        program.run(["sh", "-c", f"(while [ ! -e {go}1 ]; do sleep 0.05; done) >/dev/null 2>&1 &"], keeps=lock)
        file.rename(tmp_path / "kept")  # as if this process had been killed before it could remove it
    (tmp_path / "kept").rename(file)
    with pytest.raises(TimedOut), file_lock.held(file, 0.2):
        raise AssertionError
    Path(f"{go}1").touch()
    with file_lock.held(file, 5):
        go.touch()
    assert eventually(lambda: not file.exists())


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    """Is told."""
    (tmp_path / "file").touch()
    refused = pytest.raises(OutsideError, match=r"cannot be made: (Not a directory|File exists)")
    with refused, file_lock.held(tmp_path / "file" / "lock", 1):
        raise AssertionError
