"""Following the event feed: a WebSocket that comes back by cursor after every interruption."""

from __future__ import annotations

import binascii
import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple, Self

from metawsm.client.backoff import pause
from metawsm.client.connection import Connection, Lost
from metawsm.client.errors import ApiError, BadAnswer, DaemonUnreachable
from metawsm.client.frames import CLOSE, PING, TEXT, FrameReader, Message, close_reason, encode_frame
from metawsm.client.http import BASE, Client, refusal

PATH = f"{BASE}/forum/stream"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
SILENCE = 2.5  # heartbeats that may be missed
LONGEST_PAUSE = 5.0
LONGEST_HEARTBEAT = 3600.0
REFUSED = 1008  # the close code of a policy violation: coming back would not help


class SentAway(Lost):
    """The daemon ended the stream itself, and said why."""


class State(NamedTuple):
    """How the feed stands: `live`, or `reconnecting` in `seconds` because of `reason`.

    `live` has a `reason` when the daemon is not the one it was: a backup was restored.
    """

    name: str
    reason: str = ""
    seconds: float = 0.0


def follow(
    client: Client,
    query: Mapping[str, object],
    cursor: int | None,
    on_state: Callable[[State], None] | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Every frame of the feed, for ever, starting after `cursor` (None: from now). See Feed."""
    yield from Feed(client, query, cursor, on_state).frames()


class Feed:
    """The frames of the feed. `cursor` moves with them, so that what was missed comes after a reconnect.

    The first connection must succeed (DaemonUnreachable, ApiError); later ones are tried for ever, except when the
    daemon refuses the request itself. After a `reset` frame the cursor is the head that the daemon named.
    """

    def __init__(
        self,
        client: Client,
        query: Mapping[str, object],
        cursor: int | None,
        on_state: Callable[[State], None] | None = None,
    ) -> None:
        self.cursor = cursor
        self._client = client
        self._query = dict(query)
        self._on_state = on_state or (lambda _state: None)
        self._closed = threading.Event()
        self._wire: Wire | None = None
        self._head: int | None = None
        self._epoch: int | None = None
        self._silence = 60.0
        self._failures = 0
        self._sent_away = False

    def close(self) -> None:
        """End `frames` soon; may be called from another thread."""
        self._closed.set()
        wire = self._wire
        if wire is not None:
            wire.shutdown()

    def frames(self) -> Iterator[dict[str, Any]]:
        """Frames in order, each event once, until `close`."""
        connected_before = False
        while not self._closed.is_set():
            try:
                with self._connect() as wire:
                    connected_before = True
                    yield from self._frames(wire)
            except (DaemonUnreachable, ApiError, Lost) as error:
                if not connected_before or _final(error):
                    raise
                self._sent_away = isinstance(error, SentAway)
                self._back_off(str(error))

    def _connect(self) -> Wire:
        """Open the stream after the cursor."""
        query = self._query | {"cursor": self.cursor}
        try:
            wire = Wire(self._client, query)
        except Lost as lost:
            raise DaemonUnreachable(f"the feed at {self._client.address.url} broke off: {lost}") from None
        self._wire = wire
        return wire

    def _frames(self, wire: Wire) -> Iterator[dict[str, Any]]:
        """The frames of one connection, until it ends with Lost."""
        while not self._closed.is_set():
            for frame in wire.receive(self._silence):
                self._note(frame)
                yield frame

    def _note(self, frame: Mapping[str, Any]) -> None:
        """Move the cursor, and learn how often the daemon gives a sign of life."""
        # A daemon that sends us away greets us first each time: then only what comes behind shows that it is well.
        if not self._sent_away or frame.get("type") in ("forum.events", "heartbeat"):
            self._failures, self._sent_away = 0, False
        if frame.get("type") == "hello":
            self._head = frame.get("head_sequence")
            self._on_state(State("live", self._changed(frame)))
            self._epoch = frame.get("epoch")
            self._silence = SILENCE * _heartbeat(frame.get("heartbeat_seconds"))
            self.cursor = self._head if self.cursor is None else self.cursor
        elif frame.get("type") == "reset":
            self.cursor = self._head
        elif isinstance(frame.get("next_cursor"), int):
            self.cursor = frame["next_cursor"]

    def _changed(self, hello: Mapping[str, Any]) -> str:
        """Why what was seen before need not hold any more; empty when it does."""
        if self._epoch is not None and hello.get("epoch") != self._epoch:
            return "a backup was restored meanwhile"
        return ""

    def _back_off(self, reason: str) -> None:
        """Wait before the next try, longer each time, with some chance in it."""
        self._wire = None
        if self._closed.is_set():
            return
        seconds = pause(self._failures, 0.1, 2, LONGEST_PAUSE)
        self._failures += 1
        self._on_state(State("reconnecting", reason, seconds))
        self._closed.wait(seconds)


def _heartbeat(value: object) -> float:
    """Seconds between two signs of life, as a daemon says; what cannot be meant is as if nothing were said."""
    return float(value) if isinstance(value, int | float) and 0 < value <= LONGEST_HEARTBEAT else 25.0


def _final(error: Exception) -> bool:
    """Whether trying again cannot help: the daemon understood and said no."""
    return isinstance(error, ApiError) and error.status < 500 and error.status != 429


class Wire:
    """One open WebSocket. Use it as a context manager."""

    def __init__(self, client: Client, query: Mapping[str, object]) -> None:
        """Connect and shake hands. Raises DaemonUnreachable, ApiError, BadAnswer, or Lost."""
        self._socket, early = _open(client, query)
        self._early = early
        self._reader = FrameReader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._say(CLOSE, b"\x03\xe8")  # 1000, going on purpose
        self._socket.close()

    def shutdown(self) -> None:
        """Wake a reader in another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def receive(self, silence: float) -> Iterator[dict[str, Any]]:
        """The frames that arrive next, as objects; Lost at the end of the connection or after `silence` seconds."""
        data, self._early = self._early or self._read(silence), b""
        for message in self._reader.feed(data):
            frame = self._frame(message)
            if frame is not None:
                yield frame

    def _read(self, silence: float) -> bytes:
        """The next bytes."""
        try:
            self._socket.settimeout(silence)
            data = self._socket.recv(256 * 1024)
        except TimeoutError:
            raise Lost(f"nothing was heard for {silence:g} s") from None
        except OSError as error:
            raise Lost((error.strerror or str(error)).lower()) from None
        if not data:
            raise Lost("the connection was closed")
        return data

    def _frame(self, message: Message) -> dict[str, Any] | None:
        """The object in a text message; control frames are answered here."""
        if message.opcode == PING:
            self._say(0xA, message.data)
        if message.opcode == CLOSE:
            raise _ended(*close_reason(message.data))
        if message.opcode != TEXT:
            return None
        try:
            frame = json.loads(message.data)
        except (ValueError, RecursionError):
            frame = None
        if not isinstance(frame, dict):
            raise BadAnswer("the feed sent a frame that is not a JSON object")
        return frame

    def _say(self, opcode: int, data: bytes) -> None:
        """Send a small frame; a connection that is gone shows itself at the next read."""
        try:
            self._socket.settimeout(1.0)
            self._socket.sendall(encode_frame(opcode, data))
        except OSError:
            return


def _ended(code: int, reason: str) -> Exception:
    """What a close frame means for us."""
    text = f"the daemon closed the feed ({code}{': ' + reason if reason else ''})"
    if code == REFUSED:
        return ApiError(403, b"", {"error": {"code": "not_allowed", "message": text}})
    return SentAway(text)


def _open(client: Client, query: Mapping[str, object]) -> tuple[socket.socket, bytes]:
    """A connected socket after the upgrade, and the bytes that came with the answer."""
    key = binascii.b2a_base64(os.urandom(16), newline=False).decode()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    connection = Connection(client.address, 10.0)
    try:
        response, _keep = connection.exchange(client.upgrade_head(PATH, query, headers), b"", 10.0)
        if response.status != 101:
            raise refusal(response, client.address)
        wanted = binascii.b2a_base64(
            hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest(), newline=False
        ).decode()
        if response.headers.get("sec-websocket-accept") != wanted:
            raise BadAnswer(f"what answers at {client.address.url} does not speak WebSocket as RFC 6455 says")
    except BaseException:
        connection.close()
        raise
    return connection.detach()
