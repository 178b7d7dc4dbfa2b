"""What to do when a program that a test needs is not on this machine."""

from __future__ import annotations

import shutil
from typing import NoReturn

import pytest


def program(name: str) -> str:
    """The path of a program on PATH; without it the test fails."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/bin:/usr/bin")
    return found or missing(f"needs the program {name}, which is not on PATH")


def missing(reason: str) -> NoReturn:
    """Fail the running test: what it needs is not here. A test that is skipped shows nothing."""
    pytest.fail(reason, pytrace=False)
