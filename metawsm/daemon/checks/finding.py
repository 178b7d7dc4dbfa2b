"""What a check found, and what checks are told before they begin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from metawsm.policy import Policy
from metawsm.storage.lock import Holder

OK, WARN, FAIL = "OK", "WARN", "FAIL"
ORDER = (OK, WARN, FAIL)
"""From good to bad."""


@frozen
class Finding:
    """One line. `name` is stable, `subject.aspect`; `hint` says what to do, empty where nothing is to be done."""

    name: str
    status: str
    detail: str
    hint: str = ""


def ok(name: str, detail: str) -> Finding:
    """As it should be."""
    return Finding(name, OK, detail)


def warn(name: str, detail: str, hint: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(name, WARN, detail, hint)


def fail(name: str, detail: str, hint: str) -> Finding:
    """It does not work, or loses something."""
    return Finding(name, FAIL, detail, hint)


@frozen
class Seen:
    """What a daemon that answers said: its health, and the part `bus` of its debug page (empty where it gave none)."""

    url: str
    health: Mapping[str, Any]
    bus: Mapping[str, Any] = field(factory=dict)


@frozen
class Case:
    """What is looked at: the options of `serve`, and what was found out before the checks begin.

    `held` says that a process holds the database's lock, `seen` is what the daemon said, None where none answered.
    `named_redis`: the command line named the Redis to look at. `deep`: SQLite's own checks may take any time.
    """

    database: Path
    policy: Policy
    address: tuple[str, int]
    env: Mapping[str, str]
    directory: str
    held: bool
    holder: Holder | None
    seen: Seen | None = None
    named_redis: bool = False
    deep: bool = False

    @property
    def folder(self) -> Path:
        """The folder that holds database, token and the bundled Redis's data."""
        return self.database.resolve().parent

    @property
    def served(self) -> bool:
        """Whether a daemon has the database open, and not an import or a restore: those note no address."""
        return self.held and (self.holder is None or self.holder.addr.rpartition(":")[2].isdigit())

    @property
    def runs(self) -> bool:
        """Whether a daemon runs, here or where we were told."""
        return self.served or self.seen is not None
