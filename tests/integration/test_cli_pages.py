"""Pages: what the verbs that read show of one and how they go on to the next; and the pages of the help."""

from __future__ import annotations

import json
import re
import socket

from tests.integration.test_cli import VIEW, event, first_line, says_json
from tests.support.scripted_server import ScriptedServer, answer, scripted
from tests.support.shell import shell


def test_search_shows_what_matched() -> None:
    """The place that matched stands beside each thread."""
    threads = [VIEW | {"match": {"sequence": 7, "post_id": "fevt-1.post", "snippet": "it is flaky again"}}]
    with scripted(says_json(200, {"threads": threads})) as server:
        done = shell(["forum", "search", "flaky"], METAWSM_SERVER=server.url)
    head, row = done.stdout.splitlines()
    assert row[head.index("MATCH") :].strip() == "it is flaky again"


def test_watch_once_prints_what_is_there() -> None:
    """All pages are read, a short one is not the last; it ends where the cursor stays."""
    first = {"events": [event(n) for n in range(1, 501)], "next_cursor": 500}
    short = {"events": [event(501)], "next_cursor": 2500}
    none_here = {"events": [], "next_cursor": 4500}
    last = {"events": [event(4600)], "next_cursor": 4600}

    def play(server: ScriptedServer, sock: socket.socket) -> None:
        for page in (first, short, none_here, last, {"events": [], "next_cursor": 4600}):
            server.read_request(sock)
            sock.sendall(answer(200, json.dumps(page).encode()))

    with scripted(play) as server:
        done = shell(["forum", "watch", "--once"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 502
    asked = [first_line(request).partition("cursor=")[2].partition("&")[0] for request in server.requests]
    assert asked == ["0", "500", "2500", "4500", "4600"]


def test_watch_once_says_that_its_cursor_is_of_another_life() -> None:
    """Whoever resumes by cursor must not take the silence for nothing new: the exit code is that of a conflict."""
    page = {"events": [], "next_cursor": 7, "reset": "cursor 99 is beyond the head 7"}
    with scripted(says_json(200, page)) as server:
        done = shell(["forum", "watch", "--once", "--json", "--cursor", "99"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stdout) == (4, "")
    assert "beyond the head 7; nothing was read, start without --cursor" in done.stderr


def test_a_refusal_is_json_for_a_program() -> None:
    """With `--json` the daemon's answer stands on stdout, a conflict's current view with it; without, nothing."""
    error = {"code": "stale_sequence", "message": "moved on", "correlation_id": "c"}
    refused = {"error": error, "thread": VIEW}
    verb = ["forum", "priority", "--thread-id", "fthr-1", "--priority", "low"]
    with scripted(says_json(409, refused), says_json(409, refused)) as server:
        told = shell([*verb, "--json"], METAWSM_SERVER=server.url)
        plain = shell(verb, METAWSM_SERVER=server.url)
    assert (told.returncode, json.loads(told.stdout)) == (4, refused)
    assert (plain.returncode, plain.stdout) == (4, "")
    assert "moved on" in told.stderr and "moved on" in plain.stderr


def test_help_says_whole_sentences() -> None:
    """`help` is the help, of a command too; no line of a list is cut; options are sentences."""
    top, forum = shell(["help"]), shell(["help", "forum"])
    assert (top.returncode, top.stdout) == (0, shell(["--help"]).stdout)
    assert forum.stdout == shell(["forum", "--help"]).stdout
    assert "Commands:" in forum.stdout and not re.search(r"\w\.\.\.$", top.stdout + forum.stdout, re.MULTILINE)
    options = " ".join(shell(["help", "forum", "signal"]).stdout.split())
    assert "The agent. [env var" in options and "validation: passed or failed." in options
    assert "(agent, operator, human). [default: agent;" in options
