"""`forum inbox` and what `forum wait` marks: the answer reaches the agent, and the forum knows it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from metawsm.domain.agent_token import agent_token
from tests.integration.test_forum_wait import KB, act, ended, waiting
from tests.support.daemon import Daemon
from tests.support.shell import COMMAND, environment, shell

BOB = {"actor_type": "agent", "actor_name": "bob", "agent_name": "bob", "run_id": "run-1"}
EVIL = "v2\x1b[2J\x1b]0;owned\x07\nand not v1"


def asked(daemon: Daemon, **more: str) -> str:
    """A question of bob in run-1."""
    body = {"ticket": "MET-1", "title": "Which schema?", "body": "v1 or v2?", **BOB, **more}
    return str(daemon.request("POST", "/forum/threads", body).body["thread"]["thread_id"])


def signal(daemon: Daemon, **payload: str) -> str:
    """A control signal of bob in run-1, or an answer to it; the control thread."""
    actor = KB if "answer" in payload else {"actor_type": "agent", "actor_name": "bob"}
    body = {"run_id": "run-1", "ticket": "MET-1", "agent_name": "bob", "payload": payload, **actor}
    return str(daemon.request("POST", "/forum/control/signal", body).body["thread"]["thread_id"])


def as_bob(daemon: Daemon) -> dict[str, str]:
    """The environment of bob's session in run-1."""
    token = agent_token(daemon.token, "run-1", "bob")
    named = {"METAWSM_AGENT": "bob", "METAWSM_RUN_ID": "run-1", "METAWSM_ACTOR_TYPE": "agent", "METAWSM_TOKEN": token}
    return {"METAWSM_SERVER": daemon.url, **named}


def inbox(daemon: Daemon, *more: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `forum inbox` as bob."""
    return shell(["forum", "inbox", *more], env=as_bob(daemon) | dict(env or {}))


def readers(daemon: Daemon, thread: str) -> list[str]:
    """Who has read the answers of a thread, answer by answer."""
    posts = daemon.request("GET", f"/forum/threads/{thread}").body["posts"]
    return [receipt["reader_name"] for post in posts for receipt in post.get("receipts", ()) if "read_at" in receipt]


def test_unread_answers_are_printed_once(daemon: Daemon) -> None:
    """Question, who, when and text, clean of control sequences; then they are read, and there is nothing more."""
    thread = asked(daemon)
    act(daemon, thread, "answer", body=EVIL, **KB)
    act(daemon, asked(daemon, agent_name="ann"), "answer", body="not for bob", **KB)
    first, second = inbox(daemon), inbox(daemon)
    assert (first.returncode, first.stderr) == (0, "")
    title, head, *body = first.stdout.splitlines()
    assert (title, body) == ("Which schema?", ["    v2", "    and not v1"])
    assert thread in head and " human kb 2" in head and head.endswith("Z")
    assert (second.returncode, second.stdout) == (1, "")
    assert "no unread answers" in second.stderr
    assert readers(daemon, thread) == ["bob"]


def test_an_answer_to_guidance_stands_under_its_question(daemon: Daemon) -> None:
    """Answers of several threads come in the order in which they were given, each with its question."""
    signal(daemon, control_type="guidance_request", question="which port?")
    thread = asked(daemon)
    act(daemon, thread, "answer", body="v2", **KB)
    signal(daemon, control_type="guidance_answer", answer="8080")
    done = inbox(daemon)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("    ")] == ["    v2", "    > which port?", "    8080"]
    assert inbox(daemon, "--check").returncode == 1


def test_a_check_marks_nothing(daemon: Daemon) -> None:
    """It prints how many there are and nothing else; 0 when there is something, 1 when there is nothing."""
    nothing = inbox(daemon, "--check")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (1, "0 unread answers\n", "")
    thread = asked(daemon)
    act(daemon, thread, "answer", body="v1", **KB)
    one = inbox(daemon, "--check")
    act(daemon, thread, "answer", body="v2", **KB)
    two = inbox(daemon, "--check")
    assert (one.returncode, one.stdout) == (0, "1 unread answer\n")
    assert (two.returncode, two.stdout) == (0, "2 unread answers\n")
    assert readers(daemon, thread) == []


def test_what_could_not_be_printed_comes_again(daemon: Daemon) -> None:
    """It is marked after it was printed: a full disk under stdout loses no answer."""
    thread = asked(daemon)
    act(daemon, thread, "answer", body="v2", **KB)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "forum", "inbox"], stdout=full, stderr=subprocess.PIPE,
                              env=environment(**as_bob(daemon)), timeout=30)  # fmt: skip
    assert done.returncode == 1
    assert readers(daemon, thread) == []
    assert inbox(daemon).stdout.count("v2") == 1


def test_a_mark_that_fails_is_a_note(daemon: Daemon) -> None:
    """The answer was printed, so the verb has done its work; the answer comes again."""
    act(daemon, asked(daemon), "answer", body="v2", **KB)
    foreign = {"METAWSM_TOKEN": agent_token(daemon.token, "run-1", "ann")}
    done = inbox(daemon, env=foreign)
    assert (done.returncode, "v2" in done.stdout) == (0, True)
    assert "not marked as read, it comes again: you are known as agent ann of run-1" in done.stderr
    assert inbox(daemon, "--check").returncode == 0


def test_a_page_at_a_time(daemon: Daemon) -> None:
    """With more than --limit answers the same command goes on; all flags may stand on the line; --json is the page."""
    first, second = asked(daemon), asked(daemon)
    for thread in (first, first, second):
        act(daemon, thread, "answer", body=f"to {thread}", **KB)
    told = inbox(daemon, "--limit", "2")
    assert "there are more" in told.stderr
    plain = ["forum", "inbox", "--agent-name", "bob", "--run-id", "run-1", "--json", "--server", daemon.url]
    page: dict[str, Any] = json.loads(shell(plain).stdout)
    assert [answer["thread_id"] for answer in page["answers"]] == [second]
    assert inbox(daemon).returncode == 1
    assert readers(daemon, first) == ["bob", "bob"]


def test_another_run_is_another_inbox(daemon: Daemon) -> None:
    """With a run only its answers; without one all of the agent's."""
    for run in ("run-1", "run-2"):
        act(daemon, asked(daemon, run_id=run), "answer", body=f"in {run}", **KB)
    assert "in run-2" not in inbox(daemon).stdout
    everywhere = shell(["forum", "inbox", "--agent", "bob"], METAWSM_SERVER=daemon.url)
    assert everywhere.stdout.count("in run-") == 1 and "in run-2" in everywhere.stdout


def test_an_agent_says_that_it_has_read_a_thread(daemon: Daemon) -> None:
    """`forum read` counts what is read from now on; with the token it knows who, without a name it is refused."""
    thread = asked(daemon)
    for body in ("v1", "v2"):
        act(daemon, thread, "answer", body=body, **KB)
    nameless = shell(["forum", "read", "--thread-id", thread], METAWSM_SERVER=daemon.url)
    assert (nameless.returncode, "--actor-name is required" in nameless.stderr) == (7, True)
    told = [shell(["forum", "read", "--thread-id", thread], env=as_bob(daemon)).stdout for _ in range(2)]
    assert told == [f"{thread}  bob has read 2 answers\n", f"{thread}  bob has read 0 answers\n"]


def test_it_must_be_somebodys(daemon: Daemon) -> None:
    """Without an agent it is a mistake in the command line."""
    assert shell(["forum", "inbox"], METAWSM_SERVER=daemon.url).returncode == 2


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_who_waits_as_an_agent_has_read_what_was_printed(daemon: Daemon, json_flag: list[str]) -> None:
    """The answers that `wait` prints are read; one before the newest question is not printed, and stays unread."""
    thread = asked(daemon)
    act(daemon, thread, "answer", body="v1", **KB)
    act(daemon, thread, "posts", body="from when on?", actor_type="agent", actor_name="bob")
    process = waiting(daemon, thread, *json_flag, env=as_bob(daemon))
    act(daemon, thread, "answer", body="from now on", **KB)
    code, out, err = ended(process)
    assert (code, err, "from now on" in out) == (0, "", True)
    assert readers(daemon, thread) == ["bob"]
    assert inbox(daemon).stdout.splitlines()[-1] == "    v1"


@pytest.mark.parametrize("env", [{"METAWSM_ACTOR_TYPE": "operator"}, {"METAWSM_AGENT": ""}])
def test_a_person_who_waits_has_read_nothing_for_the_agent(daemon: Daemon, env: dict[str, str]) -> None:
    """Only an agent whose name is known reads."""
    thread = asked(daemon)
    act(daemon, thread, "answer", body="v2", **KB)
    done = shell(["forum", "wait", thread], env=as_bob(daemon) | env)
    assert (done.returncode, done.stdout) == (0, "v2\n")
    assert readers(daemon, thread) == []


def test_a_mark_that_fails_does_not_spoil_the_wait(daemon: Daemon) -> None:
    """The answer is there; that it could not be marked is a note."""
    thread = asked(daemon)
    act(daemon, thread, "answer", body="v2", **KB)
    done = shell(["forum", "wait", thread], env=as_bob(daemon) | {"METAWSM_AGENT": "ann"})
    assert (done.returncode, done.stdout) == (0, "v2\n")
    assert "not marked as read" in done.stderr


def test_without_a_thread_an_agent_waits_on_its_control_thread(daemon: Daemon) -> None:
    """Found by run and agent; where another pair has the first name, too. Before the first signal there is none."""
    none = shell(["forum", "wait"], env=as_bob(daemon))
    assert (none.returncode, "no control thread yet" in none.stderr) == (3, True)
    other = {"ticket": "MET-1", "run_id": "Run.1", "agent_name": "bob", "actor_type": "agent",
             "payload": {"control_type": "guidance_request", "question": "mine?"}}  # fmt: skip
    assert daemon.request("POST", "/forum/control/signal", other).status == 200
    thread = signal(daemon, control_type="guidance_request", question="which port?")
    assert thread == "fctrl-run-1-bob-2"
    process = waiting(daemon, env=as_bob(daemon))
    act(daemon, thread, "answer", body="8080", **KB)
    assert ended(process) == (0, "8080\n", "")
    assert readers(daemon, thread) == ["bob"]


def test_the_thread_tells_that_its_answer_was_read(daemon: Daemon) -> None:
    """`forum thread` and `forum watch` say it in words."""
    thread = asked(daemon)
    act(daemon, thread, "answer", body="v2", **KB)
    inbox(daemon)
    shown = shell(["forum", "thread", "--thread-id", thread], METAWSM_SERVER=daemon.url).stdout
    assert "    -> read by bob 2" in shown
    watched = shell(["forum", "watch", "--once", "--thread-id", thread], METAWSM_SERVER=daemon.url).stdout
    assert watched.splitlines()[-1].endswith("read by bob")
