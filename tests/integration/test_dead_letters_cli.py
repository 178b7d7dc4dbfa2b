"""`forum dead-letters` in the shell: counts before it acts, asks on a terminal, shows hostile texts harmlessly."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.test_dead_letters import TOPIC, found, only
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.redis_servers import ServerHandle
from tests.support.shell import COMMAND, environment, shell
from tests.support.watermill import OPEN, publish

HOSTILE = '{"title": "\x1b]0;owned\x07\x1b[2Jx\u202e\x9b31m"}'
Verb = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def letters(daemon: Daemon, server: ServerHandle) -> list[int]:
    """Three open letters: malformed, foreign, and a command of an unknown type; newest first."""
    with server.client() as client:
        client.xadd(TOPIC, {b"payload": HOSTILE.encode()})
        only(daemon)
        publish(client, "open_thread", OPEN, "far", {"origin": "db-other/1"})
        only(daemon, 2)
        publish(client, "open_thread", OPEN, "odd", event_type="forum.commands.\x1b[31mdance")
        only(daemon, 3)
    return [letter["id"] for letter in found(daemon)]


@pytest.fixture
def verb(daemon: Daemon) -> Verb:
    """Runs `forum dead-letters ...` in the daemon's folder."""
    return lambda *words: shell(["forum", "--server", daemon.url, "dead-letters", *words], cwd=daemon.folder)


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    """What stdout says to programs."""
    return json.loads(done.stdout)


def test_list_and_show(verb: Verb, letters: list[int]) -> None:
    """A line for each letter, everything about one, JSON as the daemon says it; nothing reaches the terminal raw."""
    listed = verb("list", "--status", "open")
    assert listed.returncode == 0
    assert [line.split()[:3] for line in listed.stdout.splitlines()] == [
        ["ID", "STATUS", "REASON"], *([str(i), "open", reason] for i, reason in
                                      zip(letters, ("undecodable", "foreign", "malformed"), strict=True)),
    ]  # fmt: skip
    shown = verb("show", str(letters[-1]))
    assert "owned" not in shown.stdout and "payload" in shown.stdout and "malformed" in shown.stdout
    for text in (listed.stdout, shown.stdout):
        assert not set(text) & set("\x1b\x07\x9b\u202e")
    whole = as_json(verb("show", str(letters[-1]), "--json"))["dead_letter"]
    assert whole["payload"] == HOSTILE
    page = as_json(verb("list", "--json", "--limit", "1", "--reason", "foreign"))
    assert [letter["id"] for letter in page["dead_letters"]] == [letters[1]]
    assert verb("show", "999").returncode == 3
    assert verb("list", "--reason", "bogus").returncode == 7


def test_replay_by_id(verb: Verb, letters: list[int]) -> None:
    """The exit code says what became of it: applied, failed again, or too late; a dry run only counts."""
    assert verb("replay", str(letters[1]), "--dry-run").stdout == "1 open dead letter would be replayed\n"
    done = verb("replay", str(letters[1]), "--yes")
    assert (done.returncode, done.stderr) == (0, "1 dead letter to replay\n")
    assert done.stdout == f"{letters[1]} replayed, command far applied\n"
    assert verb("replay", str(letters[1])).stdout == f"{letters[1]} replayed already, command far applied\n"
    again = verb("replay", str(letters[0]), str(letters[2]), "--yes")
    assert again.returncode == 1 and again.stdout.count("failed again") == 2 and "\x1b" not in again.stdout
    assert verb("discard", str(letters[1]), "--yes").returncode == 4
    assert as_json(verb("discard", str(letters[0]), "--yes", "--json"))["dead_letter"]["status"] == "discarded"


def test_by_filter(verb: Verb, letters: list[int], daemon: Daemon) -> None:
    """Filters or --all, never nothing and never both; the count stands on stderr before it acts."""
    for words in ((), ("--all", "--reason", "foreign"), ("1", "--all")):
        assert verb("replay", *words).returncode == 2
    assert as_json(verb("discard", "--all", "--dry-run", "--json"))["result"]["matched"] == 3
    assert verb("discard", "--all", "--dry-run").stdout == "3 open dead letters would be discarded\n"
    assert len(found(daemon, "status=open")) == 3
    replayed = verb("replay", "--all", "--yes")
    assert (replayed.returncode, replayed.stdout) == (1, "0 replayed, 2 failed again\n")
    foreign = verb("replay", "--reason", "foreign", "--yes", "--json")
    assert (foreign.returncode, as_json(foreign)["result"]["done"]) == (0, 1)
    rest = verb("discard", "--all", "--yes", "--actor-type", "human", "--actor-name", "ann")
    assert (rest.returncode, rest.stderr, rest.stdout) == (
        0,
        "2 dead letters to discard\n",
        "2 discarded\n",
    )
    assert {letter.get("ended_by_name") for letter in found(daemon, "status=discarded")} == {"ann"}


def test_nothing_is_done_unasked(verb: Verb, letters: list[int], daemon: Daemon) -> None:
    """Without a terminal to ask on, and without --yes, no letter is discarded, and many are not replayed."""
    for words in (("discard", str(letters[0])), ("discard", "--all"), ("replay", "--all")):
        refused = verb(*words)
        assert (refused.returncode, "--yes" in refused.stderr, refused.stdout) == (2, True, ""), refused.stderr
    assert len(found(daemon, "status=open")) == 3


def test_an_empty_list_says_why(daemon: Daemon, verb: Verb) -> None:
    """That there are none, or none of that kind."""
    assert verb("list").stderr == "there are no dead letters\n"
    assert verb("list", "--reason", "foreign", "--limit", "5").stderr == "no dead letter matches\n"


def test_without_the_token(daemon: Daemon, letters: list[int]) -> None:
    """Who has no token is told so, with the exit code of what is not allowed."""
    done = shell(["forum", "dead-letters", "discard", str(letters[0]), "--yes", "--server", daemon.url])
    assert done.returncode == 5 and "token" in done.stderr


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 3), (b"y\n", 0)])
def test_it_asks_on_a_terminal(daemon: Daemon, letters: list[int], answer: bytes, left: int) -> None:
    """On a terminal it says how many and waits for a yes; no is an interruption."""
    ours, theirs = pty.openpty()
    words = ["forum", "dead-letters", "discard", "--all", "--server", daemon.url]
    process = subprocess.Popen(
        [*COMMAND, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=daemon.folder, env=environment()
    )
    said = b""

    def asked() -> bool:
        nonlocal said
        said += os.read(ours, 1000)
        return b"discard 3 dead letters?" in said

    eventually(asked, timeout=10)
    os.write(ours, answer)
    process.communicate(timeout=20)
    assert process.returncode == (0 if left == 0 else 130)
    os.close(theirs)
    os.close(ours)
    assert len(found(daemon, "status=open")) == left


def test_it_ends_what_the_question_named(daemon: Daemon, letters: list[int], server: ServerHandle) -> None:
    """A letter that comes while somebody thinks about the question is not ended by the yes."""
    ours, theirs = pty.openpty()
    words = ["forum", "dead-letters", "discard", "--all", "--server", daemon.url]
    process = subprocess.Popen(
        [*COMMAND, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=daemon.folder, env=environment()
    )
    eventually(lambda: b"?" in os.read(ours, 1000), timeout=10)
    with server.client() as client:
        client.xadd(TOPIC, {b"foo": b"bar"})
    late = only(daemon, 4)
    os.write(ours, b"y\n")
    said, _ = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, b"3 discarded\n")
    os.close(theirs)
    os.close(ours)
    assert [letter["id"] for letter in found(daemon, "status=open")] == [late["id"]]


def test_what_is_skipped_is_no_success(daemon: Daemon, server: ServerHandle, verb: Verb) -> None:
    """A letter without a payload cannot be replayed: it is not counted as failed again, and the exit code says no."""
    with server.client() as client:
        client.xadd(TOPIC, {b"foo": b"bar"})
    only(daemon)
    done = verb("replay", "--all", "--yes")
    told = "0 replayed, 0 failed again, 1 skipped (ended otherwise, or no whole payload)\n"
    assert (done.returncode, done.stdout) == (1, told)
    assert as_json(verb("replay", "--all", "--yes", "--json"))["result"]["skipped"] == 1
