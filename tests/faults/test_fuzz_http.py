"""The HTTP API fuzzed from its own OpenAPI document, from outside: no 5xx, nothing undocumented, no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.at_rest import check_at_rest
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.services import missing

# A rule between fields (viewer_type goes with viewer_id) cannot be said in the document, and null counts as absent:
# these two checks would call both a fault (docs/decisions/0011-fuzzing.md).
LEFT_OUT = "positive_data_acceptance,negative_data_rejection"


# Requests are answered alike whichever server carries the messages.
pytestmark = pytest.mark.parametrize("start_broker", ["redis"], indirect=True)


def fuzz(daemon: Daemon, phases: str, examples: int, seed: int, *more: str) -> None:
    """Run schemathesis as a program over every operation, with every check but LEFT_OUT; it must find nothing."""
    document = daemon.request("GET", "/openapi.json")
    described = daemon.folder / "openapi.json"  # read from its address, that operation itself would be left out
    described.write_text(document.text)
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        missing("schemathesis is not installed beside this Python; it is in requirements/dev.txt")
    command = [
        str(program), "run", str(described), "--url", daemon.url,
        "--phases", phases, "--max-examples", str(examples), "--seed", str(seed), "--exclude-checks", LEFT_OUT,
        "--request-timeout", "40", "--max-response-time", "35", "--generation-database", "none",
        "--warnings", "off", "--no-color", *more,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=daemon.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    count = sum(method in ("get", "post") for item in document.body["paths"].values() for method in item)
    assert re.search(rf"Tested: {count}\b", done.stdout), done.stdout[-2000:]


def check_well(daemon: Daemon) -> None:
    """The daemon is as good as new: healthy, its log clean, its tables in order, its read models as a rebuild's."""
    assert daemon.process.poll() is None
    eventually(lambda: not daemon.request("GET", "/forum/rebuild").body["rebuild"]["running"], timeout=30)
    health = daemon.request("GET", "/health")
    assert (health.status, health.body["status"]) == (200, "ok"), health.text
    assert " ERROR " not in daemon.log.read_text()
    check_at_rest(daemon)


def test_every_operation_from_outside(daemon: Daemon) -> None:
    """Each boundary, missing and superfluous part of each operation, and some chance, is answered as documented."""
    fuzz(daemon, "coverage,fuzzing", 3, 1, "--header", f"Authorization: Bearer {daemon.token}")
    check_well(daemon)


@pytest.mark.faults
@pytest.mark.parametrize("seed", [2, 3])
def test_every_operation_for_two_minutes(daemon: Daemon, seed: int) -> None:
    """Random requests and sequences of them, once with the token and once as anybody."""
    credential = ["--header", f"Authorization: Bearer {daemon.token}"] if seed == 2 else []
    fuzz(daemon, "examples,coverage,fuzzing,stateful", 20, seed, "--max-time", "120", *credential)
    check_well(daemon)
