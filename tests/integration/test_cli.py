"""The command line as a process of its own, against a server that plays a script."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_client_feed import HELLO, says, stays, text, upgraded
from tests.support.scripted_server import ScriptedServer, answer, header, scripted
from tests.support.shell import COMMAND, environment, json_body, shell, start

Play = Callable[[ScriptedServer, socket.socket], None]
VIEW = {"thread_id": "fthr-1", "state": "new", "priority": "normal", "posts_count": 1, "title": "Which\x1b[31m one?"}
ASK = ["forum", "ask", "--ticket", "T-1", "--title", "t", "--body", "b"]


def says_json(status: int, value: object, *headers: str) -> Play:
    """Answer every request of a connection with this JSON value."""

    def play(server: ScriptedServer, sock: socket.socket) -> None:
        while server.read_request(sock):
            sock.sendall(answer(status, json.dumps(value).encode(), *headers))

    return play


def error(status: int, code: str, message: str, **more: object) -> Play:
    """Answer with an error object."""
    return says_json(status, {"error": {"code": code, "message": message, "correlation_id": "c-1", **more}})


def first_line(request: bytes) -> str:
    """Method and target of a request."""
    return request.split(b" HTTP")[0].decode()


def test_ask_sends_what_the_flags_say() -> None:
    """Flags become the body, `-` is stdin, the answer is one clean line, and the write has a key."""
    with scripted(says_json(201, {"thread": VIEW})) as server:
        arguments = ["forum", "ask", "--ticket", "T-1", "--title", "ü", "--body", "-", "--option", "a", "--option", "b"]
        done = shell([*arguments, "--server", server.url, "--wait", "2"], stdin="fünf\nlines\n".encode())
    request = server.requests[0]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "fthr-1  new, normal, 1 post: Which one?\n"
    assert first_line(request) == "POST /api/v1/forum/threads?wait=2.0"
    assert header(request, "Idempotency-Key")
    assert json_body(request) == {
        "ticket": "T-1",
        "title": "ü",
        "body": "fünf\nlines",
        "options": ["a", "b"],
        "actor_type": "agent",
    }


def test_json_is_the_answer_and_nothing_else() -> None:
    """With --json stdout holds exactly the daemon's object."""
    with scripted(says_json(201, {"thread": VIEW})) as server:
        done = shell([*ASK, "--json"], METAWSM_SERVER=server.url)
    assert json.loads(done.stdout) == {"thread": VIEW}
    assert done.stderr == ""


def test_defaults_come_from_the_environment_and_flags_win() -> None:
    """Run, ticket, agent and actor default to the variables of the contract."""
    env = {
        "METAWSM_RUN_ID": "run-1",
        "METAWSM_TICKET": "T-9",
        "METAWSM_AGENT": "bob",
        "METAWSM_ACTOR_TYPE": "human",
        "METAWSM_ACTOR_NAME": "ann",
        "METAWSM_TOKEN": "secret",
    }
    with scripted(says_json(201, {"thread": VIEW})) as server:
        shell([*ASK, "--actor-name", "kb", "--server", server.url], env=env)
    body = json_body(server.requests[0])
    found = [body[name] for name in ("run_id", "ticket", "agent_name", "actor_type", "actor_name")]
    assert found == ["run-1", "T-1", "bob", "human", "kb"]
    assert header(server.requests[0], "Authorization") == "Bearer secret"


def test_a_token_that_was_found_stays_on_this_machine(tmp_path: Path) -> None:
    """The project's own token goes to this machine's daemon only; another server needs one that is named for it."""
    (tmp_path / ".metawsm").mkdir()
    (tmp_path / ".metawsm" / "token").write_text("secret\n")
    with scripted(says_json(200, {"threads": []})) as server:
        elsewhere = f"http://[::ffff:127.0.0.1]:{server.port}"  # reaches us, but does not say so
        shell(["forum", "list", "--server", server.url], cwd=tmp_path)
        told = shell(["forum", "list", "--server", elsewhere], cwd=tmp_path)
        shell(["forum", "list", "--server", elsewhere], cwd=tmp_path, METAWSM_TOKEN="named")
    sent = [b"Bearer secret" in request for request in server.requests]
    assert sent == [True, False, False] and b"Bearer named" in server.requests[2]
    assert "is not sent to" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "target", "body"),
    [
        (["answer", "--thread-id", "a?b", "--body", "x"], "threads/a%3Fb/answer",
         {"body": "x", "actor_type": "operator"}),
        (["post", "--thread-id", "f", "--body", "x"], "threads/f/posts", {"body": "x", "actor_type": "operator"}),
        (["assign", "--thread-id", "f", "--assignee", "", "--note", "n"], "threads/f/assign",
         {"assignee_type": "operator", "assignee_name": "", "assignment_note": "n", "actor_type": "operator"}),
        (["state", "--thread-id", "f", "--state", "triaged", "--expected-sequence", "7"], "threads/f/state",
         {"to_state": "triaged", "actor_type": "operator", "expected_sequence": 7}),
        (["priority", "--thread-id", "f", "--priority", "high"], "threads/f/priority",
         {"priority": "high", "actor_type": "operator"}),
        (["close", "--thread-id", "f", "--reason", "r"], "threads/f/close", {"reason": "r", "actor_type": "operator"}),
        (["seen", "--thread-id", "f", "--viewer-id", "kb", "--sequence", "3"], "threads/f/seen",
         {"viewer_type": "operator", "viewer_id": "kb", "last_seen_event_sequence": 3, "actor_type": "operator"}),
        (["read", "--thread-id", "f", "--actor-name", "bob", "--sequence", "3"], "threads/f/read",
         {"actor_type": "agent", "actor_name": "bob", "up_to_sequence": 3}),
        (["signal", "--run-id", "r", "--ticket", "T", "--agent-name", "a", "--type", "guidance_request",
          "--question", "q"],
         "control/signal",
         {"run_id": "r", "ticket": "T", "agent_name": "a", "actor_type": "agent",
          "payload": {"control_type": "guidance_request", "question": "q"}}),
        (["signal", "--run-id", "r", "--ticket", "T", "--agent", "a", "--type", "guidance_answer", "--answer", "y"],
         "control/signal",
         {"run_id": "r", "ticket": "T", "agent_name": "a", "actor_type": "operator",
          "payload": {"control_type": "guidance_answer", "answer": "y"}}),
    ],
)  # fmt: skip
def test_every_write_has_its_route_and_its_defaults(arguments: list[str], target: str, body: dict[str, Any]) -> None:
    """The verbs of the contract's table reach the routes of its other table."""
    with scripted(says_json(200, {"thread": VIEW, "seen": {}})) as server:
        done = shell(["forum", "--server", server.url, *arguments])
    assert done.returncode == 0, done.stderr
    assert first_line(server.requests[0]) == f"POST /api/v1/forum/{target}"
    assert json_body(server.requests[0]) == body


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["list", "--state", "new", "--limit", "5"], "threads?state=new&limit=5"),
        (["search", "a b", "c", "--ticket", "T"], "search?query=a%20b%20c&ticket=T"),
        (["queue", "--type", "mine", "--viewer-id", "kb"], "queues?type=mine&viewer_id=kb&viewer_type=operator"),
        (["stats", "--run-id", "r"], "stats?run_id=r"),
        (["thread", "--thread-id", "f"], "threads/f"),
        (["debug"], "debug"),
        (["command", "--command-id", "fcmd-1"], "commands/fcmd-1"),
    ],
)
def test_every_read_has_its_route(arguments: list[str], target: str) -> None:
    """The reading verbs ask for what their flags say, and --json gives the answer as it came."""
    value = {"threads": [], "stats": [], "thread": VIEW, "posts": [], "debug": {}, "command": {"status": "applied"}}
    with scripted(says_json(200, value)) as server:
        done = shell(["forum", *arguments, "--json"], METAWSM_SERVER=server.url)
        told = shell(["forum", *arguments], METAWSM_SERVER=server.url)
    assert done.returncode == told.returncode == 0, done.stderr + told.stderr
    assert sorted(first_line(server.requests[0])) == sorted(f"GET /api/v1/forum/{target}")
    assert json.loads(done.stdout) == value


@pytest.mark.parametrize(
    ("play", "code", "words"),
    [
        (error(404, "not_found", "there is no thread fthr-1"), 3, ["there is no thread fthr-1"]),
        (error(409, "illegal_transition", "cannot go from a to b"), 4, ["cannot go from a to b"]),
        (error(403, "not_allowed", "needs a token"), 5, ["needs a token", "METAWSM_TOKEN_FILE"]),
        (error(422, "invalid_fields", "faulty", fields={"body": ["is \x1b[2Jbad"]}), 7, ["--body is bad"]),
        (error(413, "too_large", "the body is too large"), 7, ["too large"]),
        (error(500, "internal", "a bug"), 1, ["a bug", "c-1"]),
        (error(500, "outcome_unknown", "lost", details={"command_id": "fcmd-9"}), 1, ["lost", "--command-id fcmd-9"]),
        (says_json(200, []), 6, ["does not speak as metawsm does"]),
    ],
)
def test_every_error_has_its_exit_code_and_at_most_two_lines(play: Play, code: int, words: list[str]) -> None:
    """What happened, to what, what to do; nothing on stdout."""
    with scripted(play) as server:
        done = shell([*ASK, "--server", server.url])
    assert (done.returncode, done.stdout) == (code, "")
    assert all(word in done.stderr for word in words), done.stderr
    assert 1 <= done.stderr.count("\n") <= 2


def test_a_queued_write_ends_with_75_and_says_how_to_look() -> None:
    """202 is neither done nor failed."""
    value = {"command": {"id": "fcmd-7", "status": "queued"}}
    with scripted(says_json(202, value, "Location: /x")) as server:
        done = shell([*ASK, "--server", server.url])
        as_json = shell([*ASK, "--server", server.url, "--json"])
    assert (done.returncode, done.stdout) == (75, "")
    assert "metawsm.pyz forum command --command-id fcmd-7" in done.stderr
    assert as_json.returncode == 75
    assert json.loads(as_json.stdout) == value


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["forum", "ask", "--ticket", "T"], 2, "--title"),
        (["forum", "aks"], 2, "did you mean 'ask'"),
        (["nonsense"], 2, "known are: serve"),
        (["forum", "list", "--limit", "many"], 2, "--limit"),
        (["forum", "list", "--server", "ftp://x"], 7, "--server must be like"),
        ([*ASK[:-1], "\udce4"], 7, "lone surrogates"),
        (
            ["forum", "list", "--server", "http://127.0.0.1:1"],
            6,
            "start it with `metawsm.pyz serve --addr 127.0.0.1:1`",
        ),
        (["forum", "queue", "--type", "mine"], 2, "say whose queue: --viewer-id NAME"),
        (["serve", "--addr", "here"], 2, "127.0.0.1:3001"),
        (["status", "MET-1"], 2, "extra argument (MET-1); name it with --ticket or --run-id (see"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], code: int, words: str) -> None:
    """Usage errors end with 2 and say where to read on; nothing ends in a traceback."""
    done = shell(arguments, METAWSM_SERVER="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_stdin_must_be_text() -> None:
    """Bytes that are no UTF-8 are refused with the flag and the place."""
    done = shell([*ASK[:-1], "-"], stdin=b"ab\xff", METAWSM_SERVER="http://127.0.0.1:1")
    assert done.returncode == 7
    assert "--body is not UTF-8 at byte 2" in done.stderr


THREADS = [
    VIEW | {"thread_id": f"fthr-0190000{n}-0000-7000-8000-000000000000", "ticket": "MET-1", "title": f"漢字 {n}\n" * 40}
    for n in range(3)
]


def test_lists_are_tables() -> None:
    """Rows stand under heads with folded, clean texts; how to get the next page goes to stderr."""
    with scripted(says_json(200, {"threads": THREADS, "next_cursor": "abc"})) as server:
        done = shell(["forum", "list"], METAWSM_SERVER=server.url)
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:2] == ["THREAD", "STATE"]
    assert lines[1].startswith("fthr-01900000-0000-7000-8000-000000000000  new")
    assert "--cursor abc" in done.stderr


@pytest.mark.parametrize(("columns", "gone"), [(72, "PRIORITY, POSTS, TICKET, FROM"), (120, "POSTS, FROM")])
def test_tables_fit_a_terminal(columns: int, gone: str) -> None:
    """On a terminal no line is wider than it is, and the title is still there."""
    run_id = "run-01a226da-deaa-7bcf-87ac-a362bc764769"
    control = {"thread_id": f"fctrl-{run_id}-bob", "title": f"Control thread of bob in {run_id}", "run_id": run_id}
    threads = [*THREADS, VIEW | control | {"agent_name": "bob", "question": "Which\x1b[31m greeting?"}]
    with scripted(says_json(200, {"threads": threads})) as server:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [*COMMAND, "forum", "list"], stdout=slave, stderr=slave, env=environment(METAWSM_SERVER=server.url)
        )
        process.wait(20)
        os.close(slave)
        shown = os.read(master, 65536).decode()
        os.close(master)
    shown, head, rest = shown.replace("\r", "").partition("left out")
    lines, last = shown.splitlines(), (head + rest).splitlines()
    assert " ".join(last) == f"left out at this width: {gone}; --json has everything"
    assert len(lines) == 5
    assert "STATE" in lines[0] and " new " in lines[4] and "bob: Which g" in lines[4]
    assert all(len(line) <= columns for line in last)
    assert all(len(line) + line.count("漢") + line.count("字") <= columns for line in lines)
    assert "TITLE" in lines[0]


def test_a_thread_is_shown_with_its_posts() -> None:
    """Bodies keep their lines and lose their control characters."""
    post = {"sequence": 7, "actor_type": "agent", "actor_name": "bob", "created_at": "2026-01-01T00:00:00.000000Z",
            "kind": "answer", "body": "one\n\x1b[2Jtwo\u202e"}  # fmt: skip
    with scripted(says_json(200, {"thread": VIEW, "posts": [post], "events": []})) as server:
        done = shell(["forum", "thread", "--thread-id", "fthr-1"], METAWSM_SERVER=server.url)
    assert "Which one?\nfthr-1  new  normal" in done.stdout
    assert "#7 agent bob 2026-01-01T00:00:00Z answer\n    one\n    two\n" in done.stdout


def event(sequence: int) -> dict[str, Any]:
    """An event as the wire has it."""
    envelope = {"event_type": "forum.post.added", "thread_id": "fthr-1", "ticket": "T-1", "actor_type": "agent",
                "occurred_at": "2026-01-01T12:00:00.000000Z"}  # fmt: skip
    return {"sequence": sequence, "envelope": envelope, "payload": {"body": f"post\n{sequence}"}}


def events_frame(*sequences: int) -> bytes:
    """A frame of events."""
    return text({"type": "forum.events", "events": [event(n) for n in sequences], "next_cursor": sequences[-1]})


def test_watch_prints_a_line_per_event_and_survives_a_restart() -> None:
    """Each event once, in order; what happens to the connection goes to stderr; SIGINT ends it with 130."""
    with scripted(
        upgraded(says(text(HELLO), events_frame(11, 12))), upgraded(stays(text(HELLO), events_frame(13)))
    ) as server:
        process = start(["forum", "watch", "--cursor", "10", "--ticket", "T-1"], METAWSM_SERVER=server.url)
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=10)
    assert lines[0] == "#11 12:00:00 forum.post.added fthr-1 T-1 agent  post 11\n"
    assert [line.split()[0] for line in lines] == ["#11", "#12", "#13"]
    assert process.returncode == 130
    assert err.decode().splitlines() == [
        "lost the daemon (the connection was closed); trying again",
        "connected again; nothing was missed",
    ]
    assert "ticket=T-1&cursor=10" in first_line(server.requests[0])


def test_watch_as_json_is_one_object_a_line() -> None:
    """Programs get the events as they are."""
    with scripted(upgraded(stays(text(HELLO), events_frame(11, 12)))) as server:
        process = start(["forum", "watch", "--json"], METAWSM_SERVER=server.url)
        assert process.stdout is not None
        found = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.terminate()
        process.communicate(timeout=10)
    assert found == [event(11), event(12)]


def test_watch_ends_quietly_when_its_reader_has_gone() -> None:
    """A closed pipe is no error."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(text(HELLO))
        for sequence in range(11, 10_000):
            sock.sendall(events_frame(sequence))

    with scripted(upgraded(talk)) as server:
        process = start(["forum", "watch"], METAWSM_SERVER=server.url)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def test_rebuild_shows_its_progress() -> None:
    """It waits until the daemon says that it is done."""
    states = [{"running": True, "done": 0}, {"running": True, "done": 1, "total": 3}, {"running": False, "total": 3}]

    def play(server: ScriptedServer, sock: socket.socket) -> None:
        for state in states:
            server.read_request(sock)
            sock.sendall(answer(200, json.dumps({"rebuild": state}).encode()))

    with scripted(play) as server:
        done = shell(["forum", "rebuild"], METAWSM_SERVER=server.url)
    assert [first_line(request) for request in server.requests] == [
        "POST /api/v1/forum/rebuild",
        *["GET /api/v1/forum/rebuild"] * 2,
    ]
    assert (done.returncode, done.stdout) == (0, "rebuilt from 3 events\n")
    assert done.stderr.splitlines() == ["rebuilding: begun", "rebuilding: 1 of 3 events"]


def test_policy_init_writes_once(tmp_path: Path) -> None:
    """The file is written where it is looked for, and not overwritten without --force."""
    first = shell(["policy-init"], cwd=tmp_path)
    assert (first.returncode, "after a change, restart it" in first.stderr) == (0, True)
    assert json.loads((tmp_path / ".metawsm" / "policy.json").read_text())["version"] == 2
    again = shell(["policy-init"], cwd=tmp_path)
    assert again.returncode == 1
    assert "--force" in again.stderr
    forced = shell(["policy-init", "--force", "--json"], cwd=tmp_path)
    assert (forced.returncode, json.loads(forced.stdout)) == (0, {"policy": {"path": ".metawsm/policy.json"}})


def test_serve_refuses_a_bad_policy(tmp_path: Path) -> None:
    """The file, each key's path and what was probably meant are named; nothing is started."""
    policy = tmp_path / "policy.json"
    policy.write_text('{"version": 2, "forum": {"redis": {"ulr": "x"}}}')
    done = shell(["serve", "--addr", "127.0.0.1:0", "--policy", str(policy)], cwd=tmp_path)
    assert done.returncode == 7
    assert f"{policy} is not valid: forum.redis.ulr: unknown key; did you mean 'forum.redis.url'?" in done.stderr
    assert os.listdir(tmp_path) == ["policy.json"]


def test_version_names_the_parts() -> None:
    """Program, Python and SQLite are named, for people and for programs."""
    assert "sqlite" in shell(["version"]).stdout
    assert json.loads(shell(["version", "--json"]).stdout)["version"]["python"].startswith("3.")
