"""`doctor` run as a program, and the promises that hold for every run of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.shell import shell

SECONDS = 10.0


class Told(NamedTuple):
    """What doctor said: its exit code and, by name, status, detail and hint of each check."""

    code: int
    checks: dict[str, dict[str, str]]

    def status(self, name: str) -> str:
        """The status of one check."""
        return self.checks[name]["status"]

    def bad(self) -> dict[str, str]:
        """What is not OK."""
        return {name: check["status"] for name, check in self.checks.items() if check["status"] != "OK"}


def ask(folder: Path, *options: str, **env: str) -> Told:
    """Run `doctor --json` in a folder; the promises that hold for every run are looked at on the way."""
    begun = time.monotonic()
    done = shell(["doctor", "--json", *options], cwd=folder, env=env)
    assert time.monotonic() - begun < SECONDS
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    checks = {check["name"]: check for check in answer["checks"]}
    assert all(set(check) == {"name", "status", "detail", "hint"} for check in checks.values())
    assert [name for name, check in checks.items() if (check["status"] == "OK") != (check["hint"] == "")] == []
    statuses = {check["status"] for check in checks.values()}
    assert answer["status"] == next(status for status in ("FAIL", "WARN", "OK") if status in statuses)
    assert done.returncode == (1 if "FAIL" in statuses else 0)
    return Told(done.returncode, checks)
