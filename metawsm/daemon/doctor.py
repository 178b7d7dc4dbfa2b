"""`doctor`: looks at everything a daemon needs and changes nothing, with a daemon running or without."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from metawsm.client.token import find_token
from metawsm.daemon.checks.broker import broker
from metawsm.daemon.checks.database import database
from metawsm.daemon.checks.files import files
from metawsm.daemon.checks.finding import OK, ORDER, Case, Finding, Seen, fail
from metawsm.daemon.checks.program import Clock, program
from metawsm.daemon.checks.runs import runs
from metawsm.daemon.checks.serving import ask, holders_url, serving, token_for
from metawsm.daemon.checks.settings import settings
from metawsm.domain.errors import MetawsmError
from metawsm.storage.inspection import is_held
from metawsm.storage.lock import holder_of

Check = Callable[[Case], Iterator[Finding]]

GROUPS: tuple[tuple[str, Check], ...] = (
    ("program", program),
    ("files", files),
    ("database", database),
    ("redis", broker),
    ("runs", runs),
    ("daemon", serving),
)
BEGIN_SECONDS = 3.5  # for the policy, the lock and the daemon's answers
GROUP_SECONDS = 6.0  # for each group after that; they run beside each other
DEEP_SECONDS = 3600.0


@frozen
class Wishes:
    """What `doctor` was asked to look at: the options of `serve`. `server` is a daemon elsewhere, None for our own."""

    database: Path
    policy: Path | None
    redis: str | None
    address: tuple[str, int]
    server: str | None
    deep: bool
    env: Mapping[str, str]
    directory: str


def examine(wishes: Wishes) -> list[Finding]:
    """Every finding, in the order of the groups. Takes less than 10 seconds unless `deep`."""
    clock = Clock()
    cases: list[Case] = []
    found = _Group("doctor", partial(_begin, wishes, cases)).findings(BEGIN_SECONDS)
    if cases:
        found += _together(cases[0], DEEP_SECONDS if wishes.deep else GROUP_SECONDS)
    return [*found, clock.finding()]


def _begin(wishes: Wishes, cases: list[Case]) -> Iterator[Finding]:
    """What all checks have to know; it goes into `cases`."""
    policy, found = settings(wishes.policy, wishes.env, wishes.redis)
    yield from found
    case = Case(
        wishes.database,
        policy,
        wishes.address,
        wishes.env,
        wishes.directory,
        _held(wishes.database),
        holder_of(wishes.database),
        named_redis=wishes.redis is not None,
        deep=wishes.deep,
    )
    seen, fault = _seen(wishes, case)
    cases.append(evolve(case, seen=seen))
    if fault:
        yield fail("daemon.answer", fault, "name the daemon's address with --server")


def worst(findings: list[Finding]) -> str:
    """The status of the whole: that of its worst part."""
    return max((finding.status for finding in findings), key=ORDER.index, default=OK)


def _held(path: Path) -> bool:
    try:
        return is_held(path)
    except MetawsmError:  # the check of the lock says so
        return False


def _seen(wishes: Wishes, case: Case) -> tuple[Seen | None, str]:
    """What the daemon says, the one named or the one that holds the lock, and what is wrong with its answer."""
    held_at = holders_url(case.holder) if case.served and case.holder else None
    url = wishes.server or held_at
    if url is None:
        return None, ""
    try:
        return ask(url, token_for(url, find_token(wishes.env, wishes.directory))), ""
    except MetawsmError as error:
        return None, error.message


class _Group:
    """One group in a thread of its own, so that a disk or a server that hangs holds up nobody else."""

    def __init__(self, name: str, check: Callable[[], Iterator[Finding]]) -> None:
        self.name = name
        self._findings: list[Finding] = []
        # A daemon thread: one that hangs in the kernel must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, args=(check,), daemon=True)
        self._thread.start()

    def _run(self, check: Callable[[], Iterator[Finding]]) -> None:
        try:
            for finding in check():
                self._findings.append(finding)
        except MetawsmError as error:
            self._findings.append(fail(f"{self.name}.readable", error.message, "mend this, then ask again"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other groups are worth telling
            hint = "mend this, then ask again; if it makes no sense, report it"
            self._findings.append(fail(f"{self.name}.readable", f"{type(error).__name__}: {error}", hint))

    def findings(self, seconds: float) -> list[Finding]:
        """What was found within the time that is left."""
        self._thread.join(max(0.0, seconds))
        found = list(self._findings)
        if self._thread.is_alive():
            hint = "a disk or a server hangs: look at what the lines of this group name last"
            found.append(fail(f"{self.name}.in-time", "no answer in time", hint))
        return found


def _together(case: Case, seconds: float) -> list[Finding]:
    until = time.monotonic() + seconds
    groups = [_Group(name, partial(check, case)) for name, check in GROUPS]
    return [finding for group in groups for finding in group.findings(until - time.monotonic())]
