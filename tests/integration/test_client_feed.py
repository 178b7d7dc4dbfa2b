"""The feed client over real sockets: handshake, frames, and coming back by cursor."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from metawsm.client.errors import ApiError, BadAnswer, DaemonUnreachable
from metawsm.client.feed import Feed, State, follow
from metawsm.client.frames import FrameReader, Message, encode_frame
from metawsm.client.http import Client
from tests.support.eventually import eventually
from tests.support.scripted_server import ScriptedServer, answer, header, scripted

Talk = Callable[[socket.socket], None]
HELLO = {"type": "hello", "epoch": 1, "head_sequence": 10, "heartbeat_seconds": 25}


def upgraded(talk: Talk) -> Callable[[ScriptedServer, socket.socket], None]:
    """Shake hands as a server, then talk."""

    def play(server: ScriptedServer, sock: socket.socket) -> None:
        key = header(server.read_request(sock), "Sec-WebSocket-Key")
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        accept = base64.b64encode(digest).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        sock.sendall("\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", "", ""]).encode())
        talk(sock)

    return play


def frame(opcode: int, data: bytes, final: bool = True) -> bytes:
    """A frame as a server sends it: not masked."""
    size = len(data)
    length = bytes([size]) if size < 126 else struct.pack("!BH", 126, size)
    return bytes([(0x80 if final else 0) | opcode]) + length + data


def text(value: object) -> bytes:
    """A text frame with a JSON value."""
    return frame(1, json.dumps(value).encode())


def events(*sequences: int, next_cursor: int | None = None) -> dict[str, Any]:
    """A frame with events of these sequences."""
    cursor = sequences[-1] if next_cursor is None else next_cursor
    return {"type": "forum.events", "events": [{"sequence": n} for n in sequences], "next_cursor": cursor}


def says(*frames: bytes) -> Talk:
    """Send these frames and hang up."""
    return lambda sock: sock.sendall(b"".join(frames))


def stays(*frames: bytes) -> Talk:
    """Send these frames and listen until the client has gone."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(b"".join(frames))
        while sock.recv(4096):
            continue

    return talk


def target(request: bytes) -> str:
    """The path and query of a request."""
    return request.split(b" ")[1].decode()


def test_the_feed_comes_back_by_cursor() -> None:
    """After a cut the next connection asks for what comes after the last cursor, and the states are told."""
    states: list[State] = []
    with scripted(
        upgraded(says(text(HELLO), text(events(11, 12, next_cursor=14)))),
        upgraded(says(text(HELLO), text({"type": "heartbeat", "next_cursor": 20}))),
        upgraded(stays(text(HELLO), text(events(21)))),
    ) as server:
        feed = follow(Client(server.url), {"ticket": "T-1", "run_id": None}, 5, states.append)
        seen = list(islice(feed, 6))
        feed.close()
        assert [one["type"] for one in seen] == ["hello", "forum.events", "hello", "heartbeat", "hello", "forum.events"]
        assert [target(request) for request in server.requests] == [
            f"/api/v1/forum/stream?ticket=T-1&cursor={cursor}" for cursor in (5, 14, 20)
        ]
    assert [state.name for state in states] == ["live", "reconnecting", "live", "reconnecting", "live"]


def test_a_greeting_is_no_success() -> None:
    """Who is greeted and cut off, again and again, waits longer each time; an event or a heartbeat ends that."""
    states: list[State] = []
    cut = says(text(HELLO), frame(8, b"\x03\xf5not now"))
    beat = says(text(HELLO), text({"type": "heartbeat", "next_cursor": 5}))
    with scripted(*[upgraded(cut)] * 4, upgraded(beat), upgraded(stays(text(HELLO)))) as server:
        feed = follow(Client(server.url), {}, 5, states.append)
        list(islice(feed, 7))
        feed.close()
    pauses = [state.seconds for state in states if state.name == "reconnecting"]
    assert all(seconds >= 0.05 * 2**failures for failures, seconds in enumerate(pauses[:4])), pauses
    assert len(pauses) == 5 and pauses[4] <= 0.15, pauses


def test_without_a_cursor_nothing_is_missed_after_the_first_hello() -> None:
    """The head of the first hello is the cursor of the second connection."""
    with scripted(upgraded(says(text(HELLO))), upgraded(stays(text(HELLO)))) as server:
        feed = follow(Client(server.url), {}, None)
        list(islice(feed, 2))
        feed.close()
        assert [target(request) for request in server.requests] == [
            "/api/v1/forum/stream",
            "/api/v1/forum/stream?cursor=10",
        ]


def test_a_reset_starts_from_the_head_that_was_named() -> None:
    """A cursor above the head is given up, so that a restored database does not lead to an endless loop."""
    reset = {"type": "reset", "reason": "cursor above head"}
    with scripted(upgraded(says(text(HELLO), text(reset))), upgraded(stays(text(HELLO)))) as server:
        feed = follow(Client(server.url), {}, 99)
        assert [one["type"] for one in islice(feed, 3)] == ["hello", "reset", "hello"]
        feed.close()
        assert target(server.requests[1]).endswith("?cursor=10")


def test_pings_are_answered_and_fragments_put_together() -> None:
    """A ping between two fragments gets its pong, masked, and the message comes whole."""
    whole = json.dumps(events(11)).encode()
    pongs: list[bytes] = []

    def talk(sock: socket.socket) -> None:
        sock.sendall(frame(1, whole[:5], final=False) + frame(9, b"hi") + frame(0, whole[5:]))
        pongs.append(sock.recv(100))
        while sock.recv(4096):
            continue

    with scripted(upgraded(talk)) as server:
        feed = follow(Client(server.url), {}, 1)
        assert next(feed) == events(11)
        eventually(lambda: pongs)
        feed.close()
    first, second, *mask_and_data = pongs[0][:8]
    assert (first, second) == (0x8A, 0x82)
    assert bytes(mask_and_data[4 + n] ^ mask_and_data[n] for n in range(2)) == b"hi"


def test_a_client_that_was_too_slow_comes_back() -> None:
    """Close code 1013 is an interruption like any other."""
    with scripted(
        upgraded(says(text(events(11)), frame(8, struct.pack("!H", 1013) + b"slow"))),
        upgraded(stays(text(events(12)))),
    ) as server:
        feed = follow(Client(server.url), {}, 1)
        assert [one["next_cursor"] for one in islice(feed, 2)] == [11, 12]
        feed.close()


def test_a_refusal_ends_the_feed() -> None:
    """An error answer to the upgrade, and close code 1008, are told and not tried again."""
    refusal = answer(400, b'{"error": {"code": "malformed", "message": "bad cursor"}}')

    def refuse(server: ScriptedServer, sock: socket.socket) -> None:
        server.read_request(sock)
        sock.sendall(refusal)

    with scripted(refuse) as server, pytest.raises(ApiError, match="bad cursor"):
        next(follow(Client(server.url), {}, 1))
    refused = upgraded(says(frame(8, struct.pack("!H", 1008) + b"token")))
    with scripted(refused) as server, pytest.raises(ApiError, match="token"):
        next(follow(Client(server.url), {}, 1))


def test_the_first_connection_must_succeed() -> None:
    """Without a daemon the feed fails at once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DaemonUnreachable, match="connection refused"):
            next(follow(Client(f"127.0.0.1:{unused.getsockname()[1]}"), {}, None))


def test_a_server_that_does_not_speak_websocket_is_recognised() -> None:
    """A wrong accept key is not taken for a handshake."""

    def wrong(server: ScriptedServer, sock: socket.socket) -> None:
        server.read_request(sock)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n")

    with scripted(wrong) as server, pytest.raises(BadAnswer, match="RFC 6455"):
        next(follow(Client(server.url), {}, None))


def test_silence_is_noticed() -> None:
    """Without a sign of life for two and a half heartbeats the connection is given up and made anew."""
    hello = HELLO | {"heartbeat_seconds": 0.04}
    with scripted(upgraded(stays(text(hello)))) as server:
        feed = follow(Client(server.url), {}, 1)
        assert [one["type"] for one in islice(feed, 2)] == ["hello", "hello"]
        feed.close()


def test_the_feed_can_be_ended_from_another_thread() -> None:
    """close() wakes a reader that waits."""
    with scripted(upgraded(stays(text(HELLO)))) as server:
        feed = Feed(Client(server.url), {}, None)
        seen: list[dict[str, Any]] = []
        reader = threading.Thread(target=lambda: seen.extend(feed.frames()), daemon=True)
        reader.start()
        eventually(lambda: server.requests and feed.cursor == 10)
        feed.close()
        reader.join(5)
        assert not reader.is_alive()


@pytest.mark.parametrize(
    "data",
    [
        bytes([0xC1, 0]),
        bytes([0x81, 0x80, 0, 0, 0, 0]),
        bytes([0x83, 0]),
        bytes([0x09, 0]),
        bytes([0x89, 126, 0, 126]),
        frame(0, b"x"),
        frame(1, b"x", final=False) + frame(1, b"y"),
        bytes([0x81, 127]) + (1 << 40).to_bytes(8, "big"),
    ],
)
def test_broken_frames_are_refused(data: bytes) -> None:
    """Reserved bits, masks, unknown opcodes, broken control frames and fragments, and giants end the feed."""
    with pytest.raises(BadAnswer):
        list(FrameReader().feed(data))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_sent_frames_are_masked_and_whole(size: int) -> None:
    """What a client sends can be read back after unmasking, at every form of length."""
    data = bytes(n % 251 for n in range(size))
    sent = encode_frame(2, data)
    start = 2 + (0 if size < 126 else 2 if size < 65536 else 8)
    mask, body = sent[start : start + 4], sent[start + 4 :]
    assert sent[1] & 0x80
    assert bytes(byte ^ mask[n % 4] for n, byte in enumerate(body)) == data


def test_frames_may_arrive_byte_by_byte() -> None:
    """The reader waits for whole frames wherever the network cuts them."""
    data = frame(1, b"x" * 200) + frame(1, b"y")
    reader = FrameReader()
    found = [message for byte in data for message in reader.feed(bytes([byte]))]
    assert found == [Message(1, b"x" * 200), Message(1, b"y")]


def test_a_daemon_of_another_epoch_is_told() -> None:
    """After a restore the connection is back, and what was seen before need not hold."""
    with scripted(upgraded(says(text(HELLO))), upgraded(stays(text(HELLO | {"epoch": 2})))) as server:
        seen: list[State] = []
        feed = Feed(Client(server.url, None), {}, 1, seen.append)
        for frame in feed.frames():
            if frame.get("epoch") == 2:
                feed.close()
    assert [state.reason for state in seen if state.name == "live"] == ["", "a backup was restored meanwhile"]
