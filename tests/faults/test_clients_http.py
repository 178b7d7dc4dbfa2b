"""Clients that are slow, silent, many or too big: refused or timed out, and everybody else is answered."""

from __future__ import annotations

import resource
import select
import time
from contextlib import ExitStack

import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import database
from tests.support.raw_http import RawHttp, post

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}
PATH = "/api/v1/forum/threads"
JSON = "Content-Type: application/json"
HALF_HEAD = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX: "
HALF_BODY = post(b'{"ticket"', JSON, "Content-Length: 9000", target=PATH)
HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 10, 20, 75  # docs/architecture.md, Bounds


def slowest(daemon: Daemon, count: int = 50) -> float:
    """Seconds that the slowest of some questions and lists takes."""
    worst = 0.0
    for _ in range(count):
        began = time.monotonic()
        assert daemon.request("POST", "/forum/threads", ASK).status == 201
        assert daemon.request("GET", "/forum/threads").status == 200
        worst = max(worst, time.monotonic() - began)
    return worst


def connections(daemon: Daemon) -> int:
    """How many connections the daemon holds, that of this question included."""
    count: int = daemon.request("GET", "/health").body["components"]["http"]["connections"]
    return count


def test_two_thousand_idle_and_half_finished_connections(daemon: Daemon) -> None:
    """With 2,000 connections that are silent or stop in mid-request others are answered as before."""
    wires = (b"", b"G", HALF_HEAD, HALF_BODY)
    quiet = slowest(daemon)
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(2000, room - 300)
    with ExitStack() as stack:
        for number in range(count):
            stack.enter_context(RawHttp(daemon.port)).send(wires[number % 4] if number < 200 else b"")
        eventually(lambda: connections(daemon) > count)
        crowded = slowest(daemon)
    assert crowded < 5 * quiet + 0.1, (quiet, crowded)
    eventually(lambda: connections(daemon) == 1)


TOO_MUCH = {
    "long line": (b"GET /api/v1/" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "long query": (b"GET /api/v1/forum/threads?ticket=" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "big header": (b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    "endless header": (b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000, 431),
    "many headers": (b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
    "many cookies": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"Cookie: a=b\r\n" * 5000 + b"\r\n", 431),
    "announced body": (post(b"", JSON, "Content-Length: 1048577", target=PATH), 413),
    "absurd length": (post(b"", JSON, f"Content-Length: {'9' * 40}", target=PATH), 400),
    "negative length": (post(b"", JSON, "Content-Length: -1", target=PATH), 400),
    "body of 10 MB": (post(b"x" * 10_000_000, JSON, target=PATH), 413),
    "huge chunk": (post(b"fffffff\r\n", JSON, "Transfer-Encoding: chunked", target=PATH), 413),
    "endless chunks": (post(b"400\r\n" + b"x" * 1024 + b"\r\n", JSON, "Transfer-Encoding: chunked", target=PATH)
                       + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 5000, 413),
    "tiny chunks": (post(b"1\r\nx\r\n" * 400_000, JSON, "Transfer-Encoding: chunked", target=PATH), 413),
    "length twice": (post(b"{}", JSON, "Content-Length: 2", "Content-Length: 3", target=PATH), 400),
    "length and chunks": (post(b"0", JSON, "Content-Length: 1", "Transfer-Encoding: chunked", target=PATH), 400),
}  # fmt: skip


def test_oversized_headers_and_bodies(daemon: Daemon) -> None:
    """Each is refused with its status and the common error form, nothing is stored, and the connection ends."""
    for name, (wire, status) in TOO_MUCH.items():
        with RawHttp(daemon.port) as client:
            _send_what_is_taken(client, wire)
            answer = client.read()
            assert answer.status == status, (name, answer)
            assert set(answer.json()["error"]) >= {"code", "message", "correlation_id"}, name
            assert answer.headers["connection"] == "close", name
    eventually(lambda: connections(daemon) == 1)
    with database(daemon.database) as db:
        assert db.execute("SELECT count(*) FROM forum_outbox").get == 0
    assert slowest(daemon, 10) < 1
    assert "Traceback" not in daemon.log.read_text()


def _send_what_is_taken(client: RawHttp, wire: bytes) -> None:
    """Send until it is out or an answer is there: who goes on after the refusal may find the connection reset."""
    for start in range(0, len(wire), 16384):
        if select.select([client.sock], [], [], 0)[0]:
            return
        try:
            client.send(wire[start : start + 16384])
        except OSError:
            return


@pytest.mark.faults
def test_slow_clients_run_out_of_time(daemon: Daemon) -> None:
    """Heads and bodies that stop or drip, and connections without a word, are ended when their time is over."""
    kinds = {"silent": (b"", b"", IDLE_SECONDS), "half a head": (HALF_HEAD, b"", HEAD_SECONDS),
             "drip of a head": (HALF_HEAD, b"y", HEAD_SECONDS), "half a body": (HALF_BODY, b"", BODY_SECONDS),
             "drip of a body": (HALF_BODY, b" ", BODY_SECONDS)}  # fmt: skip
    with ExitStack() as stack:
        clients = [(name, stack.enter_context(RawHttp(daemon.port))) for name in kinds for _ in range(20)]
        began = time.monotonic()
        for name, client in clients:
            client.send(kinds[name][0])
        waiting = list(clients)
        worst = 0.0
        while waiting and time.monotonic() - began < IDLE_SECONDS + 10:
            worst = max(worst, slowest(daemon, 5))
            ended = [each for each in waiting if select.select([each[1].sock], [], [], 0)[0]]
            waiting = [each for each in waiting if each not in ended]
            passed = time.monotonic() - began
            for name, client in ended:
                assert passed > kinds[name][2] - 2, (name, passed)
                answer = client.read_to_end()
                assert (b" 408 " in answer) == (name != "silent"), (name, answer)
            late = [name for name, _ in waiting if passed > kinds[name][2] + 5]
            assert late == [], passed
            for name, client in waiting:
                client.send(kinds[name][1])
    assert (waiting, worst < 1.5) == ([], True), worst
    assert slowest(daemon) < 1
