"""What a verb loads before it does anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.test_cli import ASK
from tests.support.shell import ROOT, environment

READS = [["forum", "list"], ["forum", "watch", "--once"], ["status"], ["watch", "--run-id", "run-1"]]


@pytest.mark.parametrize("arguments", [*READS, ASK, ["version"], ["close", "--run-id", "run-1"]])
def test_client_verbs_load_nothing_of_the_server(arguments: list[str]) -> None:
    """No verb but serve brings in the server's libraries; the reading ones not even attrs."""
    heavy = ["gevent", "redis", "apsw", "bottle", "cattrs", "msgpack", "ssl", "http.client", "urllib.request"]
    heavy += ["attr"] if arguments in READS else []
    code = f"import sys; from metawsm.cli.main import run; run({arguments!r})"
    code += f"; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env=environment(METAWSM_SERVER="http://127.0.0.1:1"),
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
