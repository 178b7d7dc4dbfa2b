"""`forum wait`: an agent sleeps until its question is answered."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.shell import shell, start

ASK = {"ticket": "MET-1", "title": "Which schema?", "body": "v1 or v2?", "actor_type": "agent", "actor_name": "bob"}
BOB = {"actor_type": "agent", "actor_name": "bob"}
KB = {"actor_type": "human", "actor_name": "kb"}


def asked(daemon: Daemon) -> str:
    """A new question."""
    return str(daemon.request("POST", "/forum/threads", ASK).body["thread"]["thread_id"])


def act(daemon: Daemon, thread: str, verb: str, **body: str) -> None:
    """Do something to the thread."""
    assert daemon.request("POST", f"/forum/threads/{thread}/{verb}", body).status in (200, 201)


def waiting(daemon: Daemon, *more: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A command that waits, once it follows the stream."""
    before = followers(daemon)
    process = start(["forum", "wait", *more], **{"METAWSM_SERVER": daemon.url, **(env or {})})
    eventually(lambda: followers(daemon) > before, timeout=20)
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    out, err = process.communicate(timeout=30)
    return process.returncode, out.decode(), err.decode()


def followers(daemon: Daemon) -> int:
    """How many clients follow the stream."""
    return int(daemon.request("GET", "/health").body["components"]["http"]["streams"])


def test_it_ends_with_the_answer_alone(daemon: Daemon) -> None:
    """Other events do not end it; the answer's text is all that a program reads."""
    thread = asked(daemon)
    process = waiting(daemon, thread)
    act(daemon, thread, "posts", body="which one do you use?", **KB)
    act(daemon, thread, "answer", body="v2\x1b[2J\nand not v1", **KB)
    assert ended(process) == (0, "v2\nand not v1\n", "")


def test_what_was_answered_before_the_last_question_is_no_answer_to_it(daemon: Daemon) -> None:
    """A question put into an answered thread waits again, and gets its own answer."""
    thread = asked(daemon)
    act(daemon, thread, "answer", body="v2", **KB)
    act(daemon, thread, "posts", body="from when on?", **BOB)
    process = waiting(daemon, thread)
    act(daemon, thread, "answer", body="from now on", **KB)
    assert ended(process)[1] == "from now on\n"


def test_it_goes_on_after_the_daemon_was_away(daemon: Daemon) -> None:
    """An answer given after a restart arrives."""
    thread = asked(daemon)
    process = waiting(daemon, thread)
    daemon.kill()
    daemon.start()
    act(daemon, thread, "answer", body="v2", **KB)
    code, out, err = ended(process)
    assert (code, out) == (0, "v2\n")
    assert "lost the daemon" in err


@pytest.mark.parametrize("seconds", ["0", "0.3"])
def test_a_slice_ends_with_75(daemon: Daemon, seconds: str) -> None:
    """No answer in time: nothing on stdout, and a word of what to do."""
    done = shell(["forum", "wait", asked(daemon), "--timeout", seconds], METAWSM_SERVER=daemon.url)
    assert (done.returncode, done.stdout) == (75, "")
    assert "goes on waiting" in done.stderr


def test_a_closed_thread_ends_it(daemon: Daemon) -> None:
    """Nobody will answer any more: it says so, and a script does not go on with an empty answer."""
    thread = asked(daemon)
    process = waiting(daemon, thread)
    act(daemon, thread, "close", **KB)
    assert ended(process) == (1, "", "metawsm: closed without an answer\n")


def test_what_cannot_be_waited_for(daemon: Daemon) -> None:
    """No thread named, and one that is not there."""
    assert shell(["forum", "wait"], METAWSM_SERVER=daemon.url).returncode == 2
    assert shell(["forum", "wait", "fthr-none"], METAWSM_SERVER=daemon.url).returncode == 3
