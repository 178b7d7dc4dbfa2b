"""Tmux as jobs use it: the port `metawsm.bus.outside.Tmux` over the tmux program."""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from metawsm.bus.outside import Pane
from metawsm.domain.errors import Obstructed, OutsideError, ProgramMissing
from metawsm.domain.plain_text import clean
from metawsm.effects import program
from metawsm.effects.program import Ran

OLDEST = (3, 2)
"""The first version with `new-session -e`."""

HISTORY_LINES = 10_000
SEEN_SECONDS = 2.0
"""How long a typed line may take to appear."""

PASTED_SECONDS = 0.2
"""Between a paste and Enter: programs take what comes together for one paste."""

END_SECONDS = 3.0
"""How long an agent may take to end when its terminal is gone, before it is killed."""

HANDS_OFF_SECONDS = 30.0
"""How long somebody who looks at a pane must not have typed before we do."""

LOOK_SECONDS = 0.05
ABSENT = re.compile(
    r"no server running|error connecting to .*\(No such file|server exited|lost server|no current target"
    r"|can't find (session|window|pane)"
)
RESTARTING = re.compile(r"server exited|lost server|error connecting to")
"""A server whose last session has just ended; the next call starts a new one."""

MARK = "@metawsm"
"""The option of a session that says whose it is."""

OWNER = f"#{{{MARK}}}"
SIZE = ("-x", "200", "-y", "50")
PANE = ":".join(
    f"#{{{name}}}"
    for name in (
        "pid", "pane_dead", "pane_pid", "window_activity", "pane_width", "pane_height", "session_name", MARK,
        "pane_current_command",
    )
)  # fmt: skip
"""No name of a session and no mark of ours has a colon; a program can call itself anything."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class TmuxProgram:
    """The tmux program on one socket: a name, a path, or "" for the user's own server.

    A server of our own does not read the user's configuration, which could destroy detached sessions.
    """

    def __init__(self, socket: str = "") -> None:
        self._own = bool(socket)
        place = ("-S" if "/" in socket else "-L", socket, "-f", os.devnull) if socket else ()
        self._argv = ("tmux", "-u", *place)
        self._server = 0

    def version(self) -> str:
        """See the port. Raises ProgramMissing when it is too old."""
        version = program.check(["tmux", "-V"]).out.split()[-1]
        number = re.match(r"(\d+)\.(\d+)", version)
        if number and (int(number[1]), int(number[2])) < OLDEST:
            raise ProgramMissing(f"tmux {version} is too old: install tmux 3.2 or newer.")
        return version

    def start(
        self,
        session: str,
        folder: Path,
        env: Mapping[str, str],
        argv: Sequence[str],
        owner: str = "",
    ) -> None:
        """See the port."""
        if not folder.is_dir():
            raise Obstructed(f"{folder} is not there: session {session} cannot begin in it.")
        _pane_of(session)
        # A single argument would be read by a shell.
        command = argv if len(argv) > 1 else ("env", *argv)
        history = (
            ("start-server", ";", "set-option", "-g", "history-limit", str(HISTORY_LINES), ";") if self._own else ()
        )
        ran = self._patiently(
            *history, "new-session", "-d", "-s", session, *SIZE,
            "-c", _exact(str(folder).replace("#", "##")),
            *(part for name, value in env.items() for part in ("-e", _exact(f"{name}={value}"))),
            "--", *map(_exact, command),
            ";", "set-option", "-t", _pane_of(session), MARK, owner,
            env=env,
        )  # fmt: skip
        if ran.code and "duplicate session" in ran.err:
            raise Obstructed(f"There is a tmux session {session} already.")
        self._expect(ran)

    def owner(self, session: str) -> str | None:
        """See the port."""
        told = self._of_pane(session, f"={OWNER}")
        return told[1:] if told else None

    def has(self, session: str) -> bool:
        """See the port."""
        return not self._absent("has-session", "-t", f"={session}")

    def kill(self, session: str) -> None:
        """See the port. An agent that ignores the end of its terminal is killed after a moment."""
        listed = self._ask("list-panes", "-s", "-t", f"={session}", "-F", "#{pane_pid}")
        groups = {group for line in listed.out.split() for group in _groups(int(line))} if listed.code == 0 else set()
        self._absent("kill-session", "-t", f"={session}")
        deadline = time.monotonic() + END_SECONDS
        while (left := {group for group in groups if _lives(group)}) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        for group in left:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)

    def panes(self) -> dict[str, Pane]:
        """See the port. Of a session with several panes, the first one counts: it is the one that was started."""
        begin = secrets.token_hex(8)  # the name of a program may have line ends in it, and what looks like a pane
        ran = self._ask("list-panes", "-a", "-F", f"{begin}{PANE}")
        if self._tells_absence(ran):
            return {}
        found: dict[str, Pane] = {}
        for line in self._expect(ran).out.splitlines():
            with suppress(ValueError):  # somebody has set a mark with a line end
                if line.startswith(begin):
                    self._server, pane = _pane(line.removeprefix(begin))
                    found.setdefault(pane.session, pane)
        return found

    def type_line(self, session: str, line: str) -> bool:
        """See the port."""
        if not self._is_ours(session):
            return False
        before = self._screen(session).count(line)
        self._tell("send-keys", "-t", _pane_of(session), "-l", "--", _exact(line))
        seen = _within(SEEN_SECONDS, lambda: self._screen(session).count(line) > before)
        self._tell("send-keys", "-t", _pane_of(session), "Enter" if seen else "C-u")
        return seen

    def paste(self, session: str, text: str) -> bool:
        """See the port. A buffer has a name of its own: others paste on the same server."""
        if not self._is_ours(session):
            return False
        target, plain, buffer = _pane_of(session), clean(text.replace("\r", "\n")), f"metawsm-{secrets.token_hex(8)}"
        load = ("load-buffer", "-b", buffer, "-", ";", "paste-buffer", "-p", "-d", "-b", buffer, "-t", target)
        self._expect(self._ask(*load, stdin=plain.encode()))
        time.sleep(PASTED_SECONDS)
        self._tell("send-keys", "-t", target, "Enter")
        return True

    def capture(self, session: str, lines: int) -> str:
        """See the port."""
        shown = self._tell("capture-pane", "-p", "-J", "-S", f"-{lines}", "-t", _pane_of(session))
        return "\n".join([line.rstrip() for line in clean(shown).rstrip().split("\n")][-lines:])

    def _is_ours(self, session: str) -> bool:
        """Whether the pane can be typed into: nobody scrolls back or has just typed there. Half a line goes away."""
        if self._of_pane(session, "#{pane_in_mode}") != "0":
            return False
        typed = self._tell("list-clients", "-t", f"={session}", "-F", "#{client_activity}").split()
        if any(abs(time.time() - int(moment)) < HANDS_OFF_SECONDS for moment in typed):
            return False
        if self._of_pane(session, "#{cursor_x}") != "0":
            self._tell("send-keys", "-t", _pane_of(session), "C-u")  # half a line would be run with what we type
        return True

    def _screen(self, session: str) -> str:
        return self._tell("capture-pane", "-p", "-J", "-t", _pane_of(session))

    def _of_pane(self, session: str, form: str) -> str:
        """What a format says about the session's first pane; "" when there is no such session."""
        ran = self._ask("list-panes", "-s", "-t", f"={session}", "-F", form)
        if self._tells_absence(ran):
            return ""
        self._expect(ran)
        return ran.out.partition("\n")[0]

    def _ask(self, *args: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Ran:
        """Call tmux. A server that this begins has the user's surroundings; PATH is the client's in every new pane."""
        surroundings = program.own_environment()
        if env and "PATH" in env:
            surroundings["PATH"] = env["PATH"]
        return program.run([*self._argv, *args], env=surroundings, stdin=stdin)

    def _patiently(self, *args: str, env: Mapping[str, str]) -> Ran:
        deadline = time.monotonic() + SEEN_SECONDS
        while True:
            ran = self._ask(*args, env=env)
            if ran.code == 0 or not RESTARTING.search(ran.err) or time.monotonic() > deadline:
                return ran
            time.sleep(LOOK_SECONDS)

    def _absent(self, *args: str) -> bool:
        """Call tmux for one session; whether that is not there."""
        ran = self._ask(*args)
        if self._tells_absence(ran):
            return True
        self._expect(ran)
        return False

    def _tells_absence(self, ran: Ran) -> bool:
        """Whether there is no such thing. Raises OutsideError where there may be, since only the socket has gone."""
        if not (ran.code and ABSENT.search(ran.err)):
            return False
        if "No such file" in ran.err and not _within(SEEN_SECONDS, lambda: not _is_server(self._server)):
            raise OutsideError(
                f"The socket of tmux is gone, and its server lives: kill -USR1 {self._server} makes it anew."
            )
        return True

    def _tell(self, *args: str) -> str:
        return self._expect(self._ask(*args)).out

    def _expect(self, ran: Ran) -> Ran:
        if ran.code:
            raise program.failure(["tmux"], ran)
        return ran


def _pane_of(session: str) -> str:
    """The target of pane commands, exact. Raises Obstructed for a name that tmux would read as something else."""
    if not _NAME.fullmatch(session):
        raise Obstructed(f"{clean(session)!r} is no name for a session: letters, digits, '-' and '_' are.")
    return f"={session}:"


def _exact(text: str) -> str:
    """An argument as it will arrive: tmux takes a semicolon at its end for the end of a command."""
    return f"{text[:-1]}\\;" if text.endswith(";") else text


def _pane(line: str) -> tuple[int, Pane]:
    """The process of the server, and the pane. Raises ValueError."""
    server, dead, pid, activity, width, height, session, owner, command = line.split(":", 8)
    return int(server), Pane(session, dead == "1", int(pid), command, float(activity), int(width), int(height), owner)


def _is_server(pid: int) -> bool:
    """Whether a process is a server of tmux; where /proc does not tell, none is."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").startswith("tmux")
    return False


def _groups(leader: int) -> set[int]:
    """The process groups of a pane: that of its first process and, where /proc tells, that of the one in front."""
    return {group for group in (leader, *map(int, _told(leader)[5:6])) if group > 1}


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # gone, or somebody else's by now
        return False
    return _told(group)[:1] != ["Z"]  # one whose end only has not been asked for does not live


def _told(pid: int) -> list[str]:
    """What /proc tells of a process, from its state on; empty where it tells nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _within(seconds: float, probe: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
