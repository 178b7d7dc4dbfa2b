"""What to do when a program that a test needs is not on this machine."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def program(name: str) -> str:
    """The path of a program on PATH; without it the test is skipped, or fails where services are required."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/bin:/usr/bin")
    return found or missing(f"needs the program {name}, which is not on PATH")


def missing(reason: str) -> NoReturn:
    """Skip the running test with a reason, or fail it when METAWSM_REQUIRE_SERVICES=1 promises that all is there."""
    if os.environ.get("METAWSM_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
