"""The program itself: interpreter, native modules, limits of the process, the clock."""

from __future__ import annotations

import importlib
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator

from metawsm.daemon.checks.finding import Case, Finding, fail, ok, warn
from metawsm.storage.inspection import OLDEST_SQLITE, sqlite_version
from metawsm.version import Build, build_info

NATIVE = ("apsw", "gevent", "greenlet", "msgpack")
OLDEST, BEYOND = (3, 11), (3, 14)
FILES = 4096  # what the daemon asks for
FEW_FILES = 512
STEP_SECONDS = 0.05  # by which the two clocks may differ over one run of the checks


def program(_: Case) -> Iterator[Finding]:
    """Whether this interpreter can run this artifact."""
    yield _interpreter(build_info())
    yield _native()
    yield _sqlite()
    yield _files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def _interpreter(build: Build) -> Finding:
    version = sys.version_info[:2]
    this = f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}-{os.uname().machine}"
    if sys.implementation.name != "cpython" or not OLDEST <= version < BEYOND:
        return fail("program.python", this, "run metawsm.pyz with CPython 3.11, 3.12 or 3.13")
    if not build.python:
        return ok("program.python", f"{this}, from the sources")
    wanted = f"{build.python} on {build.platform}"
    if wanted != f"{version[0]}.{version[1]} on {sys.platform}-{os.uname().machine}":
        hint = "use the artifact for this interpreter, or run build.py with it"
        return fail("program.python", f"{this}, the artifact was built for {wanted}", hint)
    return ok("program.python", f"{this}, as the artifact was built for")


def _native() -> Finding:
    """Extension modules are tied to one interpreter: whether they load is what counts."""
    broken = [f"{name}: {error}" for name in NATIVE if (error := _load_error(name))]
    if broken:
        return fail("program.modules", "; ".join(broken), "build the artifact anew with this interpreter: build.py")
    return ok("program.modules", f"{', '.join(NATIVE)} can be loaded")


def _load_error(name: str) -> str:
    try:
        importlib.import_module(name)
    except ImportError as error:
        return str(error)
    return ""


def _sqlite() -> Finding:
    shown = ".".join(map(str, sqlite_version()))
    if sqlite_version() < OLDEST_SQLITE:
        return fail("program.sqlite", f"SQLite {shown} can damage a write-ahead log", "build with a newer apsw")
    return ok("program.sqlite", f"SQLite {shown}")


def _files(soft: int, hard: int) -> Finding:
    limit = FILES if hard == resource.RLIM_INFINITY else hard
    shown = f"{soft} open files now, the daemon may have {min(limit, FILES)}"
    hint = f"each connection is one: raise the hard limit to {FILES} (ulimit -Hn, LimitNOFILE= of a unit)"
    if limit < FEW_FILES:
        return fail("program.open-files", shown, hint)
    return warn("program.open-files", shown, hint) if limit < FILES else ok("program.open-files", shown)


class Clock:
    """Watches both clocks from its making to its `finding`."""

    def __init__(self) -> None:
        self._wall, self._steady = time.time(), time.monotonic()

    def finding(self) -> Finding:
        """Whether the wall clock ran like the steady one, and shows a time after this program was written."""
        wall, steady = time.time() - self._wall, time.monotonic() - self._steady
        if abs(wall - steady) > STEP_SECONDS:
            shown = f"the wall clock moved {wall:.3f} s while {steady:.3f} s went by"
            return warn("clock.steady", shown, "something sets the clock; let NTP slew it")
        written = os.path.getmtime(__file__)
        if time.time() < written - 86400:
            shown = f"it is {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, before this program was written"
            return fail("clock.steady", shown, "set the clock: due times and retention are counted by it")
        return ok("clock.steady", f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC, runs evenly")
