"""The live stream: every matching event after a cursor, in order, once, without a gap between catch-up and live."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import Ledger
from tests.support.raw_ws import RawWs

STREAM = "/api/v1/forum/stream"
ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}


class Stream:
    """A client of the stream; `hello` is its first frame."""

    def __init__(self, daemon: Daemon, query: str = "", timeout: float = 10.0) -> None:
        self.socket = RawWs(daemon.port, f"{STREAM}?{query}", timeout=timeout, Host=f"127.0.0.1:{daemon.port}")
        self.hello = self.frame()

    def frame(self) -> dict[str, Any]:
        """The next frame's object; pings are passed over."""
        while True:
            opcode, payload = self.socket.receive()
            if opcode == 1:
                found: dict[str, Any] = json.loads(payload)
                return found
            assert opcode == 9, (opcode, payload)

    def events(self, upto: int) -> list[int]:
        """The sequences that come until `next_cursor` has reached `upto`; within a frame and over all in order."""
        found: list[int] = []
        cursor = 0
        while cursor < upto:
            frame = self.frame()
            assert frame["type"] in ("forum.events", "heartbeat"), frame
            found += [event["sequence"] for event in frame.get("events", ())]
            cursor = frame["next_cursor"]
        return found

    def close(self) -> None:
        """Cut the connection."""
        self.socket.__exit__()


def ask(daemon: Daemon, **more: Any) -> dict[str, Any]:
    """Open a thread."""
    reply = daemon.request("POST", "/forum/threads", ASK | more)
    assert reply.status == 201
    thread: dict[str, Any] = reply.body["thread"]
    return thread


@contextmanager
def events_flowing(daemon: Daemon) -> Iterator[None]:
    """Several clients write inside the block."""
    over = threading.Event()

    def write(number: int) -> None:
        while not over.is_set():
            ask(daemon, ticket=f"MET-{number}")

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        over.set()
        for writer in writers:
            writer.join(20)


def head(daemon: Daemon) -> int:
    """The newest sequence."""
    sequence: int = daemon.request("GET", "/health").body["components"]["projections"]["applied_sequence"]
    return sequence


def test_hello_then_what_happens_from_now_on(daemon: Daemon) -> None:
    """Without a cursor a client is greeted with the head and gets only what comes after; the form is the contract's."""
    ask(daemon)
    stream = Stream(daemon)
    assert stream.hello == {"type": "hello", "epoch": 1, "head_sequence": 1, "heartbeat_seconds": 25.0}
    thread = ask(daemon)
    frame = stream.frame()
    assert (frame["type"], frame["next_cursor"], set(frame)) == (
        "forum.events", 2, {"type", "events", "next_cursor", "sent_at"},
    )  # fmt: skip
    (event,) = frame["events"]
    (listed,) = daemon.request("GET", "/forum/events?cursor=1").body["events"]
    assert event == listed
    assert (event["envelope"]["thread_id"], json.loads(event["payload_json"])) == (
        thread["thread_id"],
        event["payload"],
    )


def test_joined_while_events_flow(daemon: Daemon) -> None:
    """Clients that join at any moment, from any cursor, get everything after it once and in order."""
    for _ in range(20):
        ask(daemon)
    streams: list[tuple[int, Stream]] = []
    with events_flowing(daemon):
        dice = random.Random(3)
        for _ in range(15):
            cursor = dice.choice([0, head(daemon) // 2, head(daemon)])
            streams.append((cursor, Stream(daemon, f"cursor={cursor}&limit={dice.choice([1, 7, 500])}")))
    last = head(daemon)
    for cursor, stream in streams:
        assert stream.events(last) == list(range(cursor + 1, last + 1))


def test_filters_leave_out_what_does_not_match(daemon: Daemon) -> None:
    """By ticket, run and thread, in catch-up and live; the cursor moves on over what was left out."""
    one = ask(daemon, ticket="MET-1", run_id="run-1")
    ask(daemon, ticket="MET-2", run_id="run-1")
    filters = {
        "ticket=MET-1": [1, 3],
        "run_id=run-1": [1, 2, 4],
        f"thread_id={one['thread_id']}": [1],
        "ticket=MET-2&run_id=run-1": [2, 4],
        "ticket=MET-9": [],
    }
    streams = {query: Stream(daemon, f"{query}&cursor=0") for query in filters}
    ask(daemon, ticket="MET-1")
    ask(daemon, ticket="MET-2", run_id="run-1")
    ask(daemon, ticket="MET-3", thread_id="fthr-last")
    for query, expected in filters.items():
        found: list[int] = []
        while len(found) < len(expected):
            found += [event["sequence"] for event in streams[query].frame()["events"]]
        assert found == expected, query


def test_a_cursor_above_the_head_is_reset(daemon: Daemon) -> None:
    """A client from a lost future is told so, and then follows from now."""
    ask(daemon)
    stream = Stream(daemon, "cursor=999")
    told = stream.frame()
    assert (told["type"], "999" in told["reason"]) == ("reset", True)
    ask(daemon)
    assert stream.events(2) == [2]


def test_a_log_that_cannot_be_read_is_told(daemon: Daemon) -> None:
    """A client that catches up hears why it cannot, in full, and is closed with 1013: it may resume by cursor."""
    for _ in range(40):
        ask(daemon, body="x" * 4000)
    assert daemon.stop() == 0
    with closing(apsw.Connection(str(daemon.database))) as db:
        leaves = "SELECT pageno, pgsize FROM dbstat WHERE name = 'forum_events' AND pagetype = 'leaf' ORDER BY path"
        _, _, (page, size), *_ = db.execute(leaves)
    with daemon.database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    daemon.start()
    stream = Stream(daemon, "cursor=0")
    while (told := stream.frame())["type"] == "forum.events":
        pass
    assert told["type"] == "error"
    assert "is damaged" in told["message"] and told["message"].endswith("stop the daemon and restore a backup")
    opcode, payload = stream.socket.receive()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 1013)


def test_bad_queries_are_refused_before_the_upgrade(daemon: Daemon) -> None:
    """A faulty cursor or an unknown parameter is a 400 in the form of every error."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    for query in ("cursor=-1", "cursor=x", "limit=0", "colour=red"):
        reply = daemon.request("GET", f"/forum/stream?{query}", headers=upgrade)
        assert (reply.status, reply.error["code"]) == (400, "malformed"), query


def test_the_stream_survives_kills_of_the_daemon(daemon: Daemon) -> None:
    """A follower that resumes by cursor over three kills under load has exactly the events of the log."""
    found: list[int] = []
    over = threading.Event()

    def follow() -> None:
        cursor = 0
        while not (over.is_set() and cursor >= last[0]):
            with suppress(OSError, AssertionError):
                stream = Stream(daemon, f"cursor={cursor}", timeout=1)
                while not (over.is_set() and cursor >= last[0]):
                    frame = stream.frame()
                    assert frame["type"] == "forum.events"
                    found.extend(event["sequence"] for event in frame["events"])
                    cursor = frame["next_cursor"]

    last = [0]
    follower = threading.Thread(target=follow)
    ledger = Ledger(daemon, clients=3)
    with ledger.load():
        follower.start()
        for _ in range(3):
            threading.Event().wait(0.4)
            daemon.kill()
            daemon.start()
    ledger.settle()
    eventually(lambda: daemon.request("GET", "/health").body["outbox"]["processing_count"] == 0)
    last[0] = head(daemon)
    over.set()
    follower.join(20)
    assert found == list(range(1, last[0] + 1))


def test_large_events_come_in_frames_that_a_client_can_take(daemon: Daemon) -> None:
    """Forty bodies of 64 KiB that swell when escaped are caught up with and followed, without being cut off."""
    body = "\x01" * 65_000
    live = Stream(daemon)
    for number in range(20):
        ask(daemon, body=body)
        assert live.events(number + 1) == [number + 1]
    assert Stream(daemon, "cursor=0").events(20) == list(range(1, 21))


@pytest.mark.faults
def test_heartbeats(daemon: Daemon) -> None:
    """Every 25 seconds a client hears the head, and how far it has been looked for its filter."""
    ask(daemon)
    stream = Stream(daemon, "ticket=MET-9&cursor=0", timeout=40)
    frame = stream.frame()
    assert frame.pop("sent_at")
    assert frame == {"type": "heartbeat", "next_cursor": 1, "head_sequence": 1}


def test_a_cursor_from_a_page_of_events_is_never_reset(daemon: Daemon) -> None:
    """The page shows what is committed, the stream what the read models have: one may go on where the other ended."""
    joined: list[tuple[int, Stream]] = []
    with events_flowing(daemon):
        for _ in range(60):
            page = daemon.request("GET", f"/forum/events?limit=1000&cursor={max(0, head(daemon) - 5)}").body
            cursor = page["next_cursor"]
            joined.append((cursor, Stream(daemon, f"cursor={cursor}")))
    last = ask(daemon)["last_event_sequence"]
    for cursor, stream in joined:
        assert stream.events(last) == list(range(cursor + 1, last + 1))


def test_small_events_behind_large_ones_are_told_at_once(daemon: Daemon) -> None:
    """What the read models apply in one batch is handed on in portions, to the last one, without a further event."""
    live = Stream(daemon, "ticket=MET-9", timeout=5)
    for burst in range(1, 6):
        with ThreadPoolExecutor(12) as pool:
            sent = [pool.submit(ask, daemon, body="\x01" * 65_000) for _ in range(10)]
            small = pool.submit(ask, daemon, ticket="MET-9").result()["last_event_sequence"]
            assert [each.result()["ticket"] for each in sent] == ["MET-1"] * 10
        assert live.events(small) == [small], burst


def resident(daemon: Daemon) -> int:
    """Bytes of memory that the daemon has."""
    (line,) = (line for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines() if "VmRSS" in line)
    return int(line.split()[1]) * 1024


def test_catching_up_holds_little_for_each_client(daemon: Daemon) -> None:
    """Twenty clients that ask for everything and read nothing count as clients and cost a few megabytes each."""
    for _ in range(30):
        ask(daemon, body="\x01" * 65_000)
    before = resident(daemon)
    lazy = [RawWs(daemon.port, f"{STREAM}?cursor=0", timeout=10, Host=f"127.0.0.1:{daemon.port}") for _ in range(20)]

    def streams() -> int:
        count: int = daemon.request("GET", "/health").body["components"]["http"]["streams"]
        return count

    eventually(lambda: streams() == len(lazy))
    assert resident(daemon) - before < 150 * 1024 * 1024
    for client in lazy:
        client.__exit__()
    eventually(lambda: streams() == 0)
