"""Running real programs, with and without gevent's patches."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from metawsm.domain.errors import ProgramFailed, ProgramMissing, TimedOut
from metawsm.effects import program
from tests.support.eventually import eventually
from tests.support.sources import ROOT

PATCHED = (
    "from gevent import monkey; monkey.patch_all(); import sys, pytest;"
    " sys.exit(pytest.main(['-q', '-k', 'not patched', sys.argv[1]]))"
)


def _shell(script: str, *args: str) -> list[str]:
    return ["sh", "-c", script, "sh", *args]


def _alive(pid: int) -> bool:
    """Whether the process exists and is not just waiting to be reaped by somebody."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_what_a_program_says_and_how_it_ends() -> None:
    """Both outputs and the exit code come back; an exit code is an answer, not an error."""
    ran = program.run(_shell("echo out; echo err >&2; exit 3"))
    assert (ran.code, ran.out, ran.err, ran.cut) == (3, "out\n", "err\n", False)


def test_the_signal_that_ended_it() -> None:
    """A program that was killed has a negative code, and `check` says which signal it was."""
    with pytest.raises(ProgramFailed, match=r"^sh was ended by signal 9: it said nothing$") as failed:
        program.check(_shell("kill -9 $$"))
    assert failed.value.details == {"exit_code": -9}


def test_arguments_are_never_read_by_a_shell() -> None:
    """What looks like shell syntax arrives as it is."""
    text = "$(touch x); `id` 'a' \"b\" > y\n*"
    assert program.run(["printf", "%s", text]).out == text


@pytest.mark.parametrize("given", [b"", b"a few words\n", b"x" * 1_000_000])
def test_what_is_given_to_read(given: bytes) -> None:
    """More than a pipe holds can be handed over while the answer is read."""
    ran = program.run(["cat"], stdin=given, most_bytes=2_000_000)
    assert ran.out.encode() == given


def test_without_input_there_is_nothing_to_read() -> None:
    """A program that would ask gets the end of its input at once, and no terminal."""
    ran = program.run(_shell("[ -t 0 ] || echo no terminal; (: </dev/tty) 2>/dev/null || echo none at all"))
    assert ran.out == "no terminal\nnone at all\n"


def test_our_own_input_is_not_for_programs() -> None:
    """What somebody types to the daemon stays with it."""
    probe = "from metawsm.effects import program; print(repr(program.run(['cat']).out))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, input="typed", capture_output=True, text=True)
    assert done.stdout == "''\n", done.stderr


def test_a_program_that_does_not_read_what_it_is_given() -> None:
    """It ends as it likes."""
    assert program.run(_shell("exit 4"), stdin=b"x" * 1_000_000).code == 4


def test_only_the_beginning_of_a_long_output_is_kept() -> None:
    """The rest is read, so that the program can end, and forgotten."""
    ran = program.run(_shell("head -c 3000000 /dev/zero | tr '\\0' x; echo last words >&2"), most_bytes=1000)
    assert (len(ran.out), ran.cut, ran.words) == (1000, True, "last words")


def test_the_last_words_are_kept_and_made_safe() -> None:
    """Of an endless complaint the end counts, without what a terminal would obey."""
    script = "head -c 100000 /dev/zero | tr '\\0' y >&2;"
    script += " printf '\\033[31mfatal\\033[0m: \\342\\200\\256no\\007\\n' >&2; exit 1"
    with pytest.raises(ProgramFailed) as failed:
        program.check(_shell(script))
    assert failed.value.message.endswith("yfatal: no")
    assert len(failed.value.message) < 2100


def test_what_is_no_text_is_shown() -> None:
    """Bytes that are not UTF-8 become visible escapes."""
    assert program.run(["printf", "a\\377b"]).out == "a\\xffb"


def test_a_missing_program_says_what_helps() -> None:
    """The error names the program and how to get it."""
    with pytest.raises(ProgramMissing, match="no-such-program is not installed or not on PATH"):
        program.run(["no-such-program"])


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    """What the system says about it is told."""
    file = tmp_path / "thing"
    file.write_bytes(b"\0\1\2")
    file.chmod(0o755)
    with pytest.raises(ProgramMissing, match=r"thing cannot be started: .*Exec format error"):
        program.run([str(file)])


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    """Also one that does not listen to a polite word, and what it has started."""
    note, started = tmp_path / "pids", time.monotonic()
    with pytest.raises(TimedOut, match=r"^sh did not end within 0\.5 seconds") as late:
        program.run(_shell('trap "" TERM; sleep 61 & echo $! $$ >"$1"; wait; sleep 62', str(note)), timeout=0.5)
    assert time.monotonic() - started < 5
    assert late.value.code == "program_timed_out"
    eventually(lambda: not any(_alive(int(pid)) for pid in note.read_text().split()))


def test_nothing_of_it_is_left(tmp_path: Path) -> None:
    """The child of a program that took too long is gone, too."""
    note = tmp_path / "pid"
    with pytest.raises(TimedOut):
        program.run(_shell('sleep 63 & echo $! >"$1"; wait', str(note)), timeout=0.3)
    eventually(lambda: not _alive(int(note.read_text())))


def test_somebody_who_stays_behind_is_not_waited_for(tmp_path: Path) -> None:
    """A hook's background program may hold the output open; the program itself has ended."""
    note = tmp_path / "pid"
    started = time.monotonic()
    ran = program.run(_shell('sleep 30 & echo $! >"$1"; echo done', str(note)))
    assert (ran.code, ran.out) == (0, "done\n")
    assert time.monotonic() - started < 5
    os.kill(int(note.read_text()), 9)


def test_no_handle_is_lost() -> None:
    """Programs, good ones and missing ones, leave no open files: a loss grows each time, what is made once does not."""
    counts = [handles_after_programs() for _ in range(3)]
    assert any(later <= earlier for earlier, later in pairwise(counts)), counts


def handles_after_programs() -> int:
    """How many files are open when so many more programs have run."""
    for _ in range(30):
        program.run(["true"], stdin=b"x")
        with pytest.raises(ProgramMissing):
            program.run(["no-such-program"])
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_the_surroundings_of_the_daemon_do_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its repository nor its terminal nor its token reach a program; tools speak English and ask nobody."""
    for name in ("GIT_DIR", "TMUX", "METAWSM_TOKEN"):
        monkeypatch.setenv(name, "of the daemon")
    monkeypatch.setenv("TMUX_TMPDIR", "of the user")
    told = program.run(["env"]).out.splitlines()
    assert [line for line in told if "of the daemon" in line] == []
    assert {"LC_ALL=C.UTF-8", "GIT_TERMINAL_PROMPT=0", "TMUX_TMPDIR=of the user"} <= set(told)


def test_all_of_this_holds_when_patched() -> None:
    """The tests of this file pass in a process that gevent has patched, as the serving process is."""
    done = subprocess.run([sys.executable, "-c", PATCHED, __file__], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_patched_waiting_lets_others_run() -> None:
    """Twenty programs that take half a second each take little longer together, from the very first on."""
    probe = """
from gevent import monkey; monkey.patch_all()
import time, gevent
from metawsm.effects import program
assert program.run(["true"]).code == 0
started = time.monotonic()
runs = [gevent.spawn(program.run, ["sleep", "0.5"]) for _ in range(20)]
gevent.joinall(runs, raise_error=True)
print(time.monotonic() - started)
"""
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 5


def test_the_first_program_of_a_patched_process_is_seen_to_end() -> None:
    """Also one that ends before gevent listens for the ends of programs; without care that is lost now and then."""
    probe = "from gevent import monkey; monkey.patch_all(); from metawsm.effects import program"
    probe += "; print(program.run(['true'], timeout=5).code)"
    for _ in range(10):
        done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=30)
        assert done.stdout == "0\n", done.stderr


def test_a_patched_run_that_is_given_up_ends_its_program(tmp_path: Path) -> None:
    """A greenlet that is killed takes the program that it waits for along."""
    note = tmp_path / "pid"
    probe = """
from gevent import monkey; monkey.patch_all()
import gevent, os, sys
from metawsm.effects import program
waiting = gevent.spawn(program.run, ["sh", "-c", 'echo $$ >"$1"; exec sleep 64', "sh", sys.argv[1]])
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    gevent.sleep(0.01)
waiting.kill()
"""
    done = subprocess.run(
        [sys.executable, "-c", probe, str(note)], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    eventually(lambda: not _alive(int(note.read_text())))
