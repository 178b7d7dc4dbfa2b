"""The command line against a real daemon, both from the built artifact: from a question to its answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.redis_tcp import RedisTcp
from tests.support.shell import environment

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with its bundled Redis server."""
    started = Daemon([sys.executable, str(pyz)], tmp_path_factory.mktemp("project"), "--redis", "embedded://")
    yield started
    if started.process.poll() is None:
        started.stop()


@pytest.fixture
def run(daemon: Daemon) -> Run:
    """Run the artifact in the daemon's folder (so that the token is found) and give code, stdout and stderr."""

    def runs(*arguments: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*daemon.command, *arguments], cwd=cwd or daemon.folder, input=stdin, capture_output=True, text=True,
            env=environment(METAWSM_SERVER=daemon.url), timeout=60, check=False,
        )  # fmt: skip

    return runs


def asked(run: Run, *more: str, ticket: str = "MET-1", title: str = "Which schema?") -> dict[str, Any]:
    """Ask a question and give its view."""
    done = run("forum", "ask", "--ticket", ticket, "--title", title, "--body", "v1 or v2?", "--json", *more)
    assert done.returncode == 0, done.stderr
    view: dict[str, Any] = json.loads(done.stdout)["thread"]
    return view


def test_from_a_question_to_its_answer(run: Run) -> None:
    """Ask, list, assign, set priority, answer, look, search, close: each sees what the one before did."""
    thread_id = asked(run, "--run-id", "run-1", "--agent", "bob", "--priority", "high")["thread_id"]
    assert thread_id in run("forum", "list", "--ticket", "MET-1", "--state", "new").stdout
    assert run("forum", "assign", "--thread-id", thread_id, "--assignee", "kb").returncode == 0
    assert "urgent" in run("forum", "priority", thread_id, "--priority", "urgent").stdout
    assert thread_id in run("forum", "list", "--assignee", "kb").stdout
    answered = run("forum", "answer", thread_id, "--body", "-", stdin="Use v2.\nIt is newer.\n")
    assert "answered" in answered.stdout
    shown = run("forum", "thread", thread_id).stdout
    assert run("forum", "thread", "--thread-id", thread_id).stdout == shown
    assert "    v1 or v2?\n" in shown
    assert "    Use v2.\n    It is newer.\n" in shown
    assert thread_id in run("forum", "search", "newer").stdout
    assert "closed" in run("forum", "close", "--thread-id", thread_id, "--reason", "done").stdout
    assert run("forum", "close", "--thread-id", thread_id).returncode == 0


def test_control_signals(run: Run) -> None:
    """A request for guidance waits for a human until it is answered."""
    where = ["--run-id", "run-2", "--ticket", "MET-2", "--agent-name", "agent"]
    request = run("forum", "signal", *where, "--type", "guidance_request", "--question", "Go on?", "--json")
    assert json.loads(request.stdout)["thread"]["state"] == "waiting_human"
    reply = run("forum", "signal", *where, "--type", "guidance_answer", "--answer", "Proceed", "--json")
    assert json.loads(reply.stdout)["thread"]["state"] == "answered"
    assert run("forum", "signal", *where, "--type", "completion", "--summary", "done").returncode == 0
    wrong = run("forum", "signal", *where, "--type", "validation", "--status", "maybe")
    assert wrong.returncode == 7
    assert "--status must be one of: passed, failed" in wrong.stderr
    assert "--done-criteria is required" in wrong.stderr


def test_queues_and_seen(run: Run) -> None:
    """A thread leaves the unseen queue when its viewer has seen it."""
    thread_id = asked(run, ticket="MET-3")["thread_id"]
    viewer = ["--viewer-type", "human", "--viewer-id", "kb"]
    unseen = ["forum", "queue", "--type", "unseen", "--ticket", "MET-3", *viewer]
    assert thread_id in run(*unseen).stdout
    assert run("forum", "seen", "--thread-id", thread_id, *viewer).returncode == 0
    assert run(*unseen).stdout == ""
    assert thread_id in run("forum", "queue", "--type", "unanswered", "--ticket", "MET-3").stdout
    assert "MET-3" in run("forum", "stats", "--ticket", "MET-3").stdout


def test_a_page_leads_to_the_next(run: Run) -> None:
    """The cursor on stderr gives the rest, nothing twice."""
    asked_for = {asked(run, ticket="MET-4", title=f"question {n}")["thread_id"] for n in range(3)}
    first = run("forum", "list", "--ticket", "MET-4", "--limit", "2")
    cursor = first.stderr.split("--cursor ")[1].strip()
    second = run("forum", "list", "--ticket", "MET-4", "--limit", "2", "--cursor", cursor)
    rows = [*first.stdout.splitlines()[1:], *second.stdout.splitlines()[1:]]
    assert [row.split()[0] for row in rows if row] != []
    assert {row.split()[0] for row in rows} == asked_for
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["thread", "--thread-id", "fthr-none"], 3, "fthr-none"),
        (["close", "--thread-id", "fthr-none"], 3, "fthr-none"),
        (["ask", "--ticket", "a b", "--title", "t", "--body", "b"], 7, "--ticket must be 1 to 64"),
        (["ask", "--ticket", "T", "--title", " ", "--body", ""], 7, "--title must not be blank"),
        (
            ["ask", "--ticket", "T", "--title", "t", "--body", "b", "--option", "v1", "--option", " "],
            7,
            "--option number 2: must not be blank",
        ),
        (["ask", "--ticket", "T", "--title", "t", "--body", "x" * 70_000], 7, "--body must be at most 65536 bytes"),
        (["ask", "--ticket", "T", "--title", "t", "--body", "b", "--priority", "big"], 7, "--priority must be one of"),
        (["post", "--thread-id", "f", "--body", "b", "--actor-type", "robot"], 7, "--actor-type must be one of"),
        (["list", "--state", "open"], 7, "--state must be one of"),
        (["list", "--cursor", "!!"], 7, "cursor"),
        (["queue", "--type", "all"], 7, "--type must be one of"),
        (["queue", "--type", "mine"], 2, "say whose queue: --viewer-id NAME"),
        (["watch", "--cursor", "-1"], 2, "--cursor"),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_its_flag(run: Run, arguments: list[str], code: int, words: str) -> None:
    """Right exit code, the flag and what is wrong, nothing on stdout."""
    done = run("forum", *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_conflicts_have_their_exit_code(run: Run) -> None:
    """Illegal transitions, re-used ids, closed threads and outdated expectations are conflicts."""
    thread = asked(run, "--thread-id", "fthr-conflict", ticket="MET-5")
    again = run("forum", "ask", "--ticket", "MET-5", "--title", "t", "--body", "b", "--thread-id", "fthr-conflict")
    assert again.returncode == 4
    where = ["--thread-id", "fthr-conflict"]
    assert run("forum", "post", *where, "--body", "x").returncode == 0
    stale = run(
        "forum", "priority", *where, "--priority", "low", "--expected-sequence", str(thread["version_sequence"])
    )
    assert stale.returncode == 4
    assert run("forum", "close", *where).returncode == 0
    assert run("forum", "state", *where, "--state", "answered").returncode == 4
    assert run("forum", "post", *where, "--body", "x").returncode == 4


def test_without_the_token_only_agents_write(run: Run, tmp_path: Path) -> None:
    """From another folder asking works and answering says how to get the token."""
    done = run("forum", "ask", "--ticket", "T", "--title", "t", "--body", "b", "--json", cwd=tmp_path)
    thread_id = json.loads(done.stdout)["thread"]["thread_id"]
    refused = run("forum", "answer", "--thread-id", thread_id, "--body", "b", cwd=tmp_path)
    assert refused.returncode == 5
    assert "METAWSM_TOKEN_FILE" in refused.stderr


def test_a_key_makes_a_repetition_harmless(run: Run) -> None:
    """The same command id gives the same thread, another body with it is refused."""
    arguments = ["forum", "ask", "--ticket", "MET-6", "--title", "t", "--command-id", "key-1", "--json", "--body"]
    first, second = run(*arguments, "b"), run(*arguments, "b")
    assert json.loads(first.stdout)["thread"]["thread_id"] == json.loads(second.stdout)["thread"]["thread_id"]
    assert run(*arguments, "other").returncode == 7


def test_rebuild_and_debug(run: Run) -> None:
    """The read models are made anew while serving, and the parts of the daemon can be looked at."""
    before = run("forum", "list", "--json").stdout
    rebuilt = run("forum", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "rebuilt from" in rebuilt.stdout
    assert run("forum", "list", "--json").stdout == before
    assert "forum.commands.open_thread" in run("forum", "debug").stdout


def test_watch_survives_the_daemon(run: Run, daemon: Daemon) -> None:
    """A restart and a kill in between lose no event and repeat none; `--once` tells the same afterwards."""
    start = json.loads(run("forum", "watch", "--once", "--json").stdout.splitlines()[-1])["sequence"]
    watcher = subprocess.Popen(
        [*daemon.command, "forum", "watch", "--json", "--cursor", str(start)],
        cwd=daemon.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(METAWSM_SERVER=daemon.url),
    )  # fmt: skip
    asked(run, ticket="MET-7", title="one")
    assert daemon.stop() == 0
    assert run("forum", "list").returncode == 6
    daemon.start()
    asked(run, ticket="MET-7", title="two")
    daemon.kill()
    daemon.start()
    asked(run, ticket="MET-7", title="three")
    once = run("forum", "watch", "--once", "--json", "--cursor", str(start)).stdout.splitlines()
    assert watcher.stdout is not None
    live = [watcher.stdout.readline().decode().rstrip("\n") for _ in once]
    watcher.send_signal(signal.SIGINT)
    watcher.communicate(timeout=20)
    assert watcher.returncode == 130
    sequences = [json.loads(line)["sequence"] for line in live]
    assert sequences == [json.loads(line)["sequence"] for line in once] == sorted(set(sequences))
    titles = [json.loads(line)["payload"].get("title") for line in live]
    assert [title for title in titles if title] == ["one", "two", "three"]


def test_a_write_without_redis_is_queued(pyz: Path, tmp_path: Path, redis_server: Callable[..., RedisTcp]) -> None:
    """With its Redis away the daemon keeps the command: exit 75, and `forum command` tells what came of it later."""
    redis = redis_server()
    daemon = Daemon([sys.executable, str(pyz)], tmp_path, "--redis", redis.url)
    try:
        env = environment(METAWSM_SERVER=daemon.url)

        def forum(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [*daemon.command, "forum", *arguments]
            return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

        redis.kill()
        queued = forum("ask", "--ticket", "T", "--title", "t", "--body", "b", "--wait", "1")
        assert queued.returncode == 75, queued.stderr
        command_id = queued.stderr.split("--command-id ")[1].split("`")[0]
        assert forum("command", "--command-id", command_id).returncode == 75
        redis.start()
        eventually(lambda: "applied" in forum("command", "--command-id", command_id).stdout, 20)
    finally:
        daemon.stop()
