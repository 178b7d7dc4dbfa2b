"""Running another program: an argument list in, its exit code and its words out.

A program is started by `posix_spawn`, not by `subprocess`. Under gevent that one forks in Python: measured in a process
of 110 MB on two cores, each start stopped the hub for 4.9 ms (up to 15) and cost 3.1 ms of the child's CPU; a spawn
takes 0.2 ms and 0.8 ms (git's and tmux's own work comes on top in both cases). `os.posix_spawn` and `os.waitpid` are
gevent's in the serving process, so waiting there lets others run (in the hub's thread: call it from no other);
elsewhere they are the plain ones.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from attrs import define, field, frozen

from metawsm.domain.errors import ProgramFailed, ProgramMissing, TimedOut
from metawsm.domain.plain_text import last_words

TIMEOUT_SECONDS = 60.0
MOST_BYTES = 1_000_000
"""How much of a program's output is kept; what comes after it is read and forgotten."""

MOST_WORDS = 8_000
"""Bytes of a program's last words that are kept."""

LOOK_SECONDS = 0.25
"""How long after a program's end somebody it left behind is noticed, who holds its output open."""

END_SECONDS = 2.0
"""How long a program that is ended may take to tidy up (git removes its lock files)."""

LONGEST_PAUSE = 0.02
KEPT = 9
"""The number that a file has which a program keeps open for us."""

PACKAGES = {
    "git": "install git 2.31 or newer (Debian: apt install git)",
    "tmux": "install tmux 3.2 or newer (Debian: apt install tmux)",
    "wsm": "install it, or set workspace.tool to builtin in the policy",
    "docmgr": "install it, or set docs.tool to builtin in the policy",
}
"""What helps when a program is missing."""

SURROUNDINGS = frozenset({
    "TMUX", "TMUX_PANE", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS",
    "GIT_IMPLICIT_WORK_TREE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_TRACE",
    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", "JOURNAL_STREAM",
})  # fmt: skip
"""Where the daemon itself stands: its repository (as `git rev-parse --local-env-vars` lists it), terminal, service."""

OURS = "METAWSM_"
"""What begins so is the daemon's own, its token among it."""


@frozen
class Ran:
    """What a program did. `code` is its exit code, negative for a signal; `cut`: `out` is only the beginning."""

    code: int
    out: str
    err: str
    cut: bool = False

    @property
    def words(self) -> str:
        """What it said about its failure, safe to show."""
        return last_words(self.err) or last_words(self.out) or "it said nothing"


def own_environment() -> dict[str, str]:
    """The daemon's environment without what is about the daemon: for what a user will work in."""
    return {name: value for name, value in os.environ.items() if name not in SURROUNDINGS and not name.startswith(OURS)}


def tool_environment() -> dict[str, str]:
    """The environment for tools whose words we read: English, UTF-8, and never asking anybody for anything."""
    quiet = {
        "LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS_REQUIRE": "never",
        "NO_COLOR": "1", "TERM": "dumb",
    }  # fmt: skip
    return own_environment() | quiet


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float = TIMEOUT_SECONDS,
    most_bytes: int = MOST_BYTES,
    keeps: int | None = None,
) -> Ran:
    """Run a program in a session of its own, without a terminal, and wait for its end; any exit code is an answer.

    `keeps` is a file of ours that stays open in it: a lock on that file lasts until the program and all that it started
    have ended, even if this process has ended before. Raises ProgramMissing when it cannot be started, TimedOut after
    `timeout` seconds; it is ended then, with all that it started.
    """
    child = _spawn(argv, tool_environment() if env is None else env, stdin, most_bytes, keeps)
    try:
        code = child.converse(time.monotonic() + timeout)
    except TimeoutError:
        raise TimedOut(f"{_name(argv)} did not end within {timeout:g} seconds and was stopped.") from None
    finally:
        child.end()
    return Ran(code, _text(child.out.kept), _text(child.err.kept), child.out.cut)


def check(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float = TIMEOUT_SECONDS,
    keeps: int | None = None,
) -> Ran:
    """Like `run`; raises ProgramFailed when the exit code is not 0."""
    ran = run(argv, env=env, stdin=stdin, timeout=timeout, keeps=keeps)
    if ran.code:
        raise failure(argv, ran)
    return ran


def failure(argv: Sequence[str], ran: Ran) -> ProgramFailed:
    """The error for a program that failed, with its own words."""
    how = f"failed with exit code {ran.code}" if ran.code > 0 else f"was ended by signal {-ran.code}"
    return ProgramFailed(f"{_name(argv)} {how}: {ran.words}", details={"exit_code": ran.code})


def find(name: str) -> str:
    """The path of a program on PATH; raises ProgramMissing with what helps."""
    found = shutil.which(name)
    if found is None:
        raise ProgramMissing(f"{name} is not installed or not on PATH: {PACKAGES.get(name, 'install it')}.")
    return found


def _name(argv: Sequence[str]) -> str:
    """The program, and its verb if it is one that has verbs: `git worktree`."""
    name = os.path.basename(argv[0])
    rest = iter(argv[1:] if name in PACKAGES else ())
    for word in rest:
        if word in {"-C", "-c", "-L", "-S", "-f"}:
            next(rest, None)
        elif not word.startswith("-"):
            return last_words(f"{name} {word}", 80)
    return name


def _text(said: bytearray) -> str:
    return said.decode("utf-8", "backslashreplace")


@define
class _Kept:
    """What one pipe brought: its beginning, or (`tail`) its end."""

    most: int
    tail: bool = False
    kept: bytearray = field(factory=bytearray)
    cut: bool = False

    def take(self, pipe: int) -> bool:
        """Read what is there; whether more may come."""
        part = os.read(pipe, 65536)
        self.kept += part
        if len(self.kept) > self.most:
            self.cut = True
            del self.kept[slice(None, -self.most) if self.tail else slice(self.most, None)]
        return bool(part)


@define
class _Given:
    """What is still to be written to the program."""

    rest: bytes

    def give(self, pipe: int) -> bool:
        """Write what fits; whether something is left."""
        try:
            self.rest = self.rest[os.write(pipe, self.rest) :]
        except BrokenPipeError:  # it does not want to know
            return False
        return bool(self.rest)


@define
class _Child:
    """A running program, our ends of its pipes, and what each of them does."""

    pid: int
    pipes: dict[int, Callable[[int], bool]]
    writing: frozenset[int]
    out: _Kept
    err: _Kept
    code: int | None = None

    def converse(self, deadline: float) -> int:
        """Write, read and wait until the program has ended, and return its exit code; raises TimeoutError."""
        with selectors.DefaultSelector() as selector:
            for pipe in self.pipes:
                selector.register(pipe, selectors.EVENT_WRITE if pipe in self.writing else selectors.EVENT_READ)
            while self.pipes:
                ready = selector.select(min(LOOK_SECONDS, _left(deadline)))
                if not ready and self._has_ended():
                    break
                for key, _ in ready:
                    self._serve(key.fd, selector)
        return self._await_end(deadline)

    def end(self) -> None:
        """Close the pipes; a program that still runs is asked to end, then killed, with all that it started."""
        for pipe in self.pipes:
            os.close(pipe)
        self.pipes.clear()
        if self.code is None:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                self._await_end(time.monotonic() + END_SECONDS)
            self._signal(signal.SIGKILL)
            with suppress(TimeoutError):  # one that hangs in the kernel is left to it
                self._await_end(time.monotonic() + END_SECONDS)

    def _serve(self, pipe: int, selector: selectors.BaseSelector) -> None:
        if not self.pipes[pipe](pipe):
            selector.unregister(pipe)
            del self.pipes[pipe]
            os.close(pipe)

    def _has_ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def _await_end(self, deadline: float) -> int:
        pause = 0.0002
        while not self._has_ended():
            time.sleep(min(pause, _left(deadline)))
            pause = min(2 * pause, LONGEST_PAUSE)
        return self.code or 0

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _spawn(
    argv: Sequence[str], env: Mapping[str, str], stdin: bytes | None, most_bytes: int, keeps: int | None
) -> _Child:
    path = find(argv[0])
    theirs: list[int] = []
    ours: list[int] = []
    try:
        if stdin is None:
            theirs.append(os.open(os.devnull, os.O_RDONLY))
        else:
            _pipe(reader=theirs, writer=ours)
        _pipe(reader=ours, writer=theirs)
        _pipe(reader=ours, writer=theirs)
        pid = _start(path, argv, env, dict(enumerate(theirs)) | ({KEPT: keeps} if keeps is not None else {}))
    except BaseException:
        _close(ours)
        raise
    finally:
        _close(theirs)
    return _child(pid, ours, stdin or b"", most_bytes)


def _pipe(reader: list[int], writer: list[int]) -> None:
    read, write = os.pipe()
    reader.append(read)
    writer.append(write)


def _child(pid: int, ours: list[int], stdin: bytes, most_bytes: int) -> _Child:
    *into, out_of, err_of = ours
    out, err = _Kept(most_bytes), _Kept(MOST_WORDS, tail=True)
    pipes: dict[int, Callable[[int], bool]] = {out_of: out.take, err_of: err.take}
    pipes |= dict.fromkeys(into, _Given(stdin).give)
    for pipe in pipes:
        os.set_blocking(pipe, False)
    return _Child(pid, pipes, frozenset(into), out, err)


def _start(path: str, argv: Sequence[str], env: Mapping[str, str], theirs: Mapping[int, int]) -> int:
    try:
        pid = os.posix_spawn(
            path,
            list(argv),
            dict(env),
            file_actions=[(os.POSIX_SPAWN_DUP2, end, number) for number, end in theirs.items()],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
    except (OSError, ValueError) as error:
        raise ProgramMissing(f"{path} cannot be started: {error}.") from error
    # gevent puts up its handler only now, when the first child may have ended already: a second signal makes it look.
    os.kill(os.getpid(), signal.SIGCHLD)
    return pid


def _close(pipes: list[int]) -> None:
    for pipe in pipes:
        os.close(pipe)
