"""WebSockets over real sockets: the handshake, every rule of the frames, slow clients, closing, stopping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.eventually import eventually
from tests.support.http_process import HttpProcess, http_process
from tests.support.raw_http import RawHttp, post
from tests.support.raw_ws import RawWs, frame, handshake

HASTY = {"http": {"idle_seconds": 0.2}, "socket": {"ping_seconds": 0.3, "pong_seconds": 0.3, "send_seconds": 0.4}}


@pytest.fixture(scope="module")
def server() -> Iterator[HttpProcess]:
    """One server with the default limits."""
    with http_process() as process:
        yield process


@pytest.fixture(scope="module")
def hasty() -> Iterator[HttpProcess]:
    """A server that pings often and soon loses patience."""
    with http_process(**HASTY) as process:
        yield process


def subscribers(client: RawHttp) -> int:
    """How many sockets are subscribed to /broadcast."""
    return int(client.get("/stats").json()["subscribers"])


def test_the_handshake_is_the_one_of_the_rfc(server: HttpProcess) -> None:
    """The sample key of RFC 6455 1.3 gets the sample answer, and a message comes back."""
    with RawWs(server.port, "/ws/echo") as ws:
        assert ws.answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (ws.answer.headers["upgrade"], ws.answer.headers["connection"]) == ("websocket", "Upgrade")
        ws.send_text("grüße \N{ROCKET}")
        assert ws.receive_text() == "grüße \N{ROCKET}"


@pytest.mark.parametrize(
    ("changes", "status", "version"),
    [
        ({"Upgrade": None}, 426, "13"),
        ({"Connection": "close"}, 426, "13"),
        ({"Sec_WebSocket_Version": "8"}, 426, "13"),
        ({"Sec_WebSocket_Version": None}, 426, "13"),
        ({"Sec_WebSocket_Key": None}, 400, None),
        ({"Sec_WebSocket_Key": "dGhl"}, 400, None),
        ({"Sec_WebSocket_Key": "not base64 at all!!"}, 400, None),
        ({"Sec_WebSocket_Key": "\u00fc" * 24}, 400, None),
        ({"Origin": "http://evil.example"}, 403, None),
        ({"Origin": "http://evil.example", "Upgrade": None}, 403, None),
    ],
)
def test_bad_handshakes_are_refused(
    server: HttpProcess, changes: dict[str, str | None], status: int, version: str | None
) -> None:
    """What is no handshake gets 400, 426 with the version to use, or 403 for its origin, as a JSON error."""
    with RawHttp(server.port) as client:
        answer = client.ask(handshake("/ws/echo", **changes))
        assert (answer.status, answer.headers.get("sec-websocket-version")) == (status, version)
        assert set(answer.json()["error"]) == {"code", "message", "correlation_id"}


def test_a_handshake_in_http_1_0_or_by_post_is_refused(server: HttpProcess) -> None:
    """Only a GET in HTTP/1.1 can be upgraded."""
    for old, new in ((b"HTTP/1.1", b"HTTP/1.0"), (b"GET ", b"POST ")):
        with RawHttp(server.port) as client:
            assert client.ask(handshake("/ws/echo").replace(old, new)).status == 400


def test_frames_sent_together_with_the_handshake_are_not_lost(server: HttpProcess) -> None:
    """A client may send its first message in the same packet as the handshake."""
    with RawHttp(server.port) as client:
        client.send(handshake("/ws/echo") + frame(1, b"early"))
        assert client.read(head_only=True).status == 101
        while len(client.buffer) < 7:
            assert client._more()
        assert client.buffer == b"\x81\x05early"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_messages_of_every_length_form_come_back(server: HttpProcess, size: int) -> None:
    """The three ways to write a length work in both directions, up to the limit."""
    with RawWs(server.port, "/ws/echo") as ws:
        ws.send_text("a" * size)
        assert ws.receive_text() == "a" * size


def test_fragments_with_a_ping_between_make_one_message(server: HttpProcess) -> None:
    """A message in pieces cut inside a character is joined; a ping between the pieces is answered at once."""
    euro = "€".encode()
    with RawWs(server.port, "/ws/echo") as ws:
        ws.send(frame(1, euro[:1], first=0x01) + frame(9, b"now") + frame(0, b"", first=0x00) + frame(0, euro[1:]))
        assert [ws.receive(), ws.receive()] == [(10, b"now"), (1, euro)]


BROKEN = {
    "unmasked": (frame(1, b"a", masked=False), 1002),
    "unmasked ping": (frame(9, b"a", masked=False), 1002),
    "reserved bit 1": (frame(1, b"a", first=0xC1), 1002),
    "reserved bit 3": (frame(1, b"a", first=0x91), 1002),
    "opcode 3": (frame(3, b"a"), 1002),
    "opcode 11": (frame(11, b"a"), 1002),
    "fragmented ping": (frame(9, b"a", first=0x09), 1002),
    "long ping": (frame(9, b"a" * 126), 1002),
    "long close": (frame(8, b"\x03\xe8" + b"a" * 124), 1002),
    "continuation of nothing": (frame(0, b"a"), 1002),
    "text within a message": (frame(1, b"a", first=0x01) + frame(1, b"b"), 1002),
    "binary": (frame(2, b"a"), 1003),
    "not utf-8": (frame(1, b"\xff"), 1007),
    "surrogate": (frame(1, b"\xed\xa0\x80"), 1007),
    "half a character": (frame(1, b"\xe2\x82"), 1007),
    "too big": (frame(1, b"a" * 65537)[:14], 1009),
    "absurdly big": (b"\x81\xff" + b"\xff" * 8, 1009),
    "too big in pieces": (frame(1, b"a" * 40000, first=0x01) + frame(0, b"a" * 40000), 1009),
    "close of one byte": (frame(8, b"\x03"), 1002),
    "close 999": (frame(8, b"\x03\xe7"), 1002),
    "close 1005": (frame(8, b"\x03\xed"), 1002),
    "close 1006": (frame(8, b"\x03\xee"), 1002),
    "close 2999": (frame(8, b"\x0b\xb7"), 1002),
    "close 5000": (frame(8, b"\x13\x88"), 1002),
    "close reason not utf-8": (frame(8, b"\x03\xe8\xff"), 1007),
    "flood of unread messages": (frame(1, b"a") * 3000, 1008),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_frames_close_with_their_code(server: HttpProcess, name: str) -> None:
    """Each violation is answered by a close frame with the code of RFC 6455 7.4.1 and the end of the connection."""
    wire, code = BROKEN[name]
    path = "/ws/feed" if code == 1008 else "/ws/echo"
    with RawWs(server.port, path) as ws:
        ws.send(wire)
        assert ws.receive_close()[0] == code
        assert ws.is_closed()


@pytest.mark.parametrize(("sent", "answered"), [(b"\x03\xe8bye", 1000), (b"", 1000), (b"\x0f\xa0", 4000)])
def test_a_close_is_answered_with_its_code(server: HttpProcess, sent: bytes, answered: int) -> None:
    """The peer's close gets its own code back, and the server ends the connection at once."""
    with RawWs(server.port, "/ws/echo") as ws:
        began = time.monotonic()
        ws.send(frame(8, sent))
        assert ws.receive_close()[0] == answered
        assert ws.is_closed() and time.monotonic() - began < 1


def test_our_close_carries_code_and_reason_behind_what_was_queued(server: HttpProcess) -> None:
    """close() really sends its code and its reason, cut to what a frame can hold at a character's boundary."""
    with RawWs(server.port, "/ws/echo") as ws:
        ws.send_text("first")
        ws.send_text("close:4001:" + "ü" * 100)
        assert ws.receive_text() == "first"
        assert ws.receive_close() == (4001, "ü" * 61)
        began = time.monotonic()
        ws.send(frame(8, b"\x0f\xa1"))
        assert ws.is_closed() and time.monotonic() - began < 1


def test_a_peer_that_does_not_answer_a_close_is_cut(server: HttpProcess) -> None:
    """The closing handshake has an end even when the peer ignores it."""
    with RawWs(server.port, "/ws/echo") as ws:
        ws.send_text("close:1000:done")
        assert ws.receive_close() == (1000, "done")
        assert ws.is_closed()


def test_a_fault_behind_a_socket_closes_it_with_1011() -> None:
    """An exception in the application is logged and told as 1011; a silent disconnect leaves no word."""
    with http_process() as own:
        with RawWs(own.port, "/ws/echo"):
            pass
        with RawWs(own.port, "/ws/echo") as ws:
            ws.send_text("fail")
            assert ws.receive_close()[0] == 1011
        log = own.log()
    assert "inside a socket" in log and log.count("Traceback") == 1


def test_pongs_keep_a_connection_and_silence_ends_it(hasty: HttpProcess) -> None:
    """Pings come by themselves; who answers stays, who does not is closed with 1011."""
    with RawWs(hasty.port, "/ws/echo") as ws:
        for _ in range(4):
            assert ws.receive() == (9, b"")
            ws.send(frame(10))
        assert ws.receive_close() == (1011, "no answer to a ping")


def test_a_client_that_stops_reading_is_cut_and_others_go_on() -> None:
    """The queue of the one who does not read overflows: told 1013, then cut; the others get every frame."""
    with http_process(socket={"queue_bytes": 200_000}) as own, ExitStack() as stack:
        stuck = stack.enter_context(RawWs(own.port, "/ws/feed", receive_buffer=4096))
        others = [stack.enter_context(RawWs(own.port, "/ws/feed")) for _ in range(5)]
        sender = stack.enter_context(RawHttp(own.port))
        eventually(lambda: subscribers(sender) == 6)
        for number in range(60):
            sender.ask(post(f"{number:03d}".encode() + b"x" * 20_000, target="/broadcast"))
            assert {ws.receive_text()[:3] for ws in others} == {f"{number:03d}"}
        eventually(lambda: subscribers(sender) == 5)
        stuck.sock.settimeout(5)
        kept = stuck.read_to_end()
        assert len(kept) < 600_000


def test_a_slow_client_that_reads_again_hears_1013(server: HttpProcess) -> None:
    """Whole frames, then the close frame 1013 with a reason: never half a frame before it."""
    with RawWs(server.port, "/ws/feed", receive_buffer=4096) as slow, RawHttp(server.port) as sender:
        eventually(lambda: subscribers(sender) == 1)
        taken = 1
        while taken:
            taken = sender.ask(post(b"y" * 30_000, target="/broadcast")).json()["taken"]
        code, reason = slow.receive_close()
        assert code == 1013 and "too slow" in reason
        eventually(lambda: subscribers(sender) == 0)


def test_a_client_that_reads_nothing_for_too_long_is_given_up() -> None:
    """Even a queue that is not full does not wait for ever: the send timeout closes with 1013."""
    with http_process(http={"idle_seconds": 0.4}, socket={"send_seconds": 0.4}) as own, ExitStack() as stack:
        stuck = stack.enter_context(RawWs(own.port, "/ws/flood?900", receive_buffer=4096))
        other = stack.enter_context(RawHttp(own.port))
        eventually(lambda: other.get("/stats").json()["connections"] == 2)
        eventually(lambda: other.get("/stats").json()["connections"] == 1, timeout=8)
        assert len(stuck.read_to_end()) < 900_000


def test_two_hundred_stuck_clients_cost_bounded_memory() -> None:
    """200 clients that never read, under a stream of frames: memory stays bounded, all are cut, others are served."""
    with http_process(socket={"queue_bytes": 262_144}) as own, ExitStack() as stack:
        sender = stack.enter_context(RawHttp(own.port))
        before = sender.get("/stats").json()["rss"]
        for _ in range(200):
            stack.enter_context(RawWs(own.port, "/ws/feed", receive_buffer=4096))
        eventually(lambda: subscribers(sender) == 200)
        peak = 0
        for _ in range(60):
            sender.ask(post(b"z" * 10_000, target="/broadcast"))
            peak = max(peak, sender.get("/stats").json()["rss"])
        assert peak - before < 60_000_000
        eventually(lambda: subscribers(sender) == 0, timeout=10)


def test_wait_drained_lets_a_long_replay_through(server: HttpProcess) -> None:
    """A sender with more to say than the queue holds waits for the client and loses nothing."""
    with RawWs(server.port, "/ws/flood?5000") as ws:
        assert [int(ws.receive_text()[:6]) for _ in range(5000)] == list(range(5000))
        assert ws.receive_close()[0] == 1000


def test_wait_drained_tells_of_a_message_that_is_half_sent(server: HttpProcess) -> None:
    """One large message to a client that does not read is not drained, to one that reads it is."""
    with RawHttp(server.port) as other, RawWs(server.port, "/ws/large", receive_buffer=4096):
        assert eventually(lambda: other.get("/stats").json()["drained"]) == [False]
        with RawWs(server.port, "/ws/large") as reader:
            assert len(reader.receive_text()) == 6_000_000
            eventually(lambda: other.get("/stats").json()["drained"] == [False, True])


def test_pings_during_large_frames_never_cut_one(server: HttpProcess) -> None:
    """Pongs asked for in the middle of a long replay stand between whole frames.

    The replay is several times what a kernel buffers (4 MB here), so that it cannot be over before a ping is read.
    """
    with RawWs(server.port, "/ws/flood?20000", receive_buffer=8192) as ws:
        pongs, texts = 0, 0
        while texts < 20_000:
            if texts % 50 == 0:
                ws.send(frame(9, b"p"))
            opcode, payload = ws.receive()
            pongs += opcode == 10
            if opcode == 1:
                assert (int(payload[:6]), len(payload)) == (texts, 1006)
                texts += 1
        assert pongs > 0


def test_a_flood_of_pings_does_not_stop_the_others(server: HttpProcess) -> None:
    """A client that sends pings without end and reads nothing neither fills the memory nor delays others."""
    with RawWs(server.port, "/ws/echo", receive_buffer=4096) as flooder, RawHttp(server.port) as other:
        before = other.get("/stats").json()["rss"]
        worst = 0.0
        for _ in range(40):
            flooder.send(frame(9, b"p") * 3000)
            began = time.monotonic()
            assert other.get("/echo").status == 200
            worst = max(worst, time.monotonic() - began)
        assert worst < 0.25
        assert other.get("/stats").json()["rss"] - before < 20_000_000


def test_five_hundred_subscribers_get_each_frame_once(server: HttpProcess) -> None:
    """A broadcast to 500 clients reaches each of them, in order, for a few microseconds a frame."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawWs(server.port, "/ws/feed")) for _ in range(500)]
        sender = stack.enter_context(RawHttp(server.port))
        eventually(lambda: subscribers(sender) == 500)
        costs = []
        for number in range(10):
            answer = sender.ask(post(f"{number}".encode() + b"e" * 600, target="/broadcast")).json()
            assert answer["taken"] == 500
            costs.append(answer["microseconds"])
        for client in clients:
            assert [client.receive_text()[0] for _ in range(10)] == list("0123456789")
        assert sorted(costs)[5] < 100, costs


def test_stop_closes_every_socket_with_1001() -> None:
    """At SIGTERM all WebSockets hear 1001; one that does not answer does not hold up the exit."""
    with http_process() as own, RawWs(own.port, "/ws/echo") as polite, RawWs(own.port, "/ws/feed") as rude:
        own.terminate()
        assert polite.receive_close()[0] == 1001
        polite.send(frame(8, b"\x03\xe9"))
        assert rude.receive_close()[0] == 1001
        assert own.process.wait(5) == 0


def test_stop_does_not_wait_longer_than_told_for_a_silent_client() -> None:
    """A WebSocket client that ignores 1001 is cut when the stop's own patience ends."""
    with http_process(stop_seconds=0.2) as own, RawWs(own.port, "/ws/feed"):
        began = time.monotonic()
        own.terminate()
        assert own.process.wait(5) == 0 and time.monotonic() - began < 1
