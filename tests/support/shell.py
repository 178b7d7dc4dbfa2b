"""Running `metawsm` as people do: as a process of its own, with a clean environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "metawsm"]


@cache
def empty_home() -> str:
    """A home with nothing in it but who commits: shells read no settings of the developer's, and leave no history."""
    home = ROOT / "build" / "home"
    home.mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text("[user]\n\tname = Test\n\temail = test@example.invalid\n")
    return str(home)


def environment(**extra: str) -> dict[str, str]:
    """The environment without our variables, a width of the terminal or anybody's home, and the checkout importable."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("METAWSM_", "COLUMNS"))}
    return clean | {"PYTHONPATH": str(ROOT), "HOME": empty_home()} | extra


def shell(
    arguments: Sequence[str],
    *,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    """Run to the end and give exit code, stdout and stderr as texts."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=environment(**(env or {}), **more),
        timeout=30,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def start(arguments: Sequence[str], **env: str) -> subprocess.Popen[bytes]:
    """Start and let it run; stdout and stderr are pipes."""
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**env)
    )


def json_body(request: bytes) -> Any:
    """The JSON value in the body of a request."""
    return json.loads(request.partition(b"\r\n\r\n")[2])
