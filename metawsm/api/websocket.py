"""WebSockets of the HTTP server: `accept` a request as one, then send and receive through its `Socket`.

A socket has no greenlets of its own. Sending hands the kernel what it takes at once and queues the rest, which a
callback of the event loop writes: neither a sender nor another client ever waits for a slow one, and a frame is never
cut by another.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import gevent
from attrs import frozen
from gevent.event import Event

from metawsm.api.http_shared import NEVER
from metawsm.api.ws_frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Decoder,
    ProtocolFault,
    Received,
    decode_close,
    decode_text,
    encode_close,
    encode_frame,
    encode_text,
)
from metawsm.api.ws_handshake import answer_upgrade

__all__ = ["Socket", "SocketLimits", "accept", "encode_text"]

_READ = 8192
"""Bytes read per wake-up: bounds the time one client's flood of tiny frames can hold the loop."""

_BATCH = 65536
"""Queued frames are joined up to about this many bytes for one send."""

_SEND_BUFFER = 128 * 1024
"""Bytes the kernel may keep per client. Its own tuning goes to 4 MB, which 200 stuck clients make 800."""


@frozen
class SocketLimits:
    """What one WebSocket client may take. Sizes in bytes, times in seconds."""

    queue_bytes: int = 1024 * 1024
    queue_frames: int = 4096
    message_bytes: int = 64 * 1024
    unread_messages: int = 64
    send_seconds: float = 10.0
    ping_seconds: float = 25.0
    pong_seconds: float = 10.0
    close_seconds: float = 2.0


def accept(
    environ: Mapping[str, Any],
    *,
    origin_allowed: Callable[[Mapping[str, Any]], bool],
    limits: SocketLimits | None = None,
) -> Socket:
    """Upgrade the request that is being answered; afterwards the application returns `[]` without start_response.

    The socket is closed (1000) when the application returns, so it stays inside, for example in `wait_closed`.
    Raises http_head.Refusal (400, 403, 426) before anything is sent; let it pass, the server answers it.
    """
    head = answer_upgrade(environ, origin_allowed)
    upgraded: Socket = environ["metawsm.connection"].upgrade(head, limits or SocketLimits())
    return upgraded


class Socket:
    """One accepted WebSocket. Use it from greenlets of the server's thread only; no method but the waits blocks."""

    def __init__(
        self, raw: socket.socket, now: Callable[[], float], limits: SocketLimits, head: bytes, leftover: bytes = b""
    ) -> None:
        self.closed = Event()
        self._raw = raw
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._now = now
        self._limits = limits
        self._decoder = Decoder(limits.message_bytes)
        self._inbox: deque[str] = deque()
        self._arrived = Event()
        self._drained = Event()
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._partial: bytes | memoryview = b""
        self._pong: bytes | None = None
        self._flush_due = False
        self._close_sent = self._close_received = self._deaf = False
        self._stuck_at = self._close_by = self._pong_by = NEVER
        self._ping_at = now() + limits.ping_seconds
        self._loop = gevent.get_hub().loop
        self._readable = self._loop.io(self._raw.fileno(), 1)
        self._writable = self._loop.io(self._raw.fileno(), 2)
        self._readable.start(self._read)
        self._enqueue(head)
        if leftover:
            self._take_in(leftover)

    def send_text(self, text: str) -> bool:
        """Queue one text message for this client. False when the socket is closing or has just overflowed."""
        return self.send_frame(encode_text(text))

    def send_frame(self, frame: bytes) -> bool:
        """Queue a frame made by `encode_text`, shared by all its receivers. False as for `send_text`.

        A client whose queue is full is told 1013 and cut; the caller never waits for it.
        """
        if self._close_sent:
            return False
        if not (self._flush_due or self._partial or self._pong or self._queue):
            return self._send_now(frame)
        # One frame alone is always taken: a client that reads must be able to get past a large event.
        over = self._queued > 0 and self._queued + len(frame) > self._limits.queue_bytes
        if over or len(self._queue) >= self._limits.queue_frames:
            self._give_up("too slow: the queue is full, resume by cursor")
            return False
        self._enqueue(frame)
        return True

    def _send_now(self, frame: bytes) -> bool:
        """Hand a frame to the kernel at once: with many receivers, queueing costs as much as the writing itself."""
        try:
            sent = self._raw.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            return False
        if sent < len(frame):
            self._partial = memoryview(frame)[sent:]
            self._drained.clear()
            self._wait_writable()
        return True

    def wait_drained(self, timeout: float | None = None) -> bool:
        """Wait until everything queued is with the kernel: the brake for one who sends much. False if it is not."""
        return bool(self._drained.wait(timeout)) and not self.closed.is_set()

    def receive(self, timeout: float | None = None) -> str | None:
        """The next text message; None at the end of the connection or after `timeout` seconds."""
        if not self._inbox:
            self._arrived.wait(timeout)
        message = self._inbox.popleft() if self._inbox else None
        if not self._inbox and not self.closed.is_set():
            self._arrived.clear()
        return message

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame behind what is queued. The end comes with the peer's answer or `close_seconds` later."""
        if self._close_sent:
            return
        self._enqueue(encode_close(code, reason))
        self._close_sent = True
        self._close_by = self._now() + self._limits.close_seconds

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait for the end of the connection; False when it still stands after `timeout` seconds."""
        return bool(self.closed.wait(timeout))

    def abort(self) -> None:
        """End the connection without further words."""
        self._end()

    def tick(self, now: float) -> None:
        """Called by the server about once a second: pings, and the three patiences (send, pong, close)."""
        if now > self._close_by:
            self._end()
        elif self._close_sent:
            return
        elif now > self._stuck_at + self._limits.send_seconds:
            self._give_up("too slow: nothing was read for too long, resume by cursor")
        elif now > self._pong_by:
            self.close(1011, "no answer to a ping")
        elif now > self._ping_at:
            self._ping_at = now + self._limits.ping_seconds
            self._pong_by = now + self._limits.pong_seconds
            self._enqueue(encode_frame(PING, b""))

    def _give_up(self, reason: str) -> None:
        """Drop what is queued (but not the rest of a frame begun) and close with 1013: the client comes back later."""
        self._queue.clear()
        self._queued = 0
        self.close(1013, reason)

    def _enqueue(self, frame: bytes) -> None:
        if self.closed.is_set():
            return
        self._queue.append(frame)
        self._queued += len(frame)
        self._drained.clear()
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Write in the loop's next round: frames queued until then leave together."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.run_callback(self._flush)

    def _flush(self) -> None:
        """Give the kernel what it takes; with a remainder, continue when the socket becomes writable."""
        self._flush_due = False
        if self.closed.is_set():
            return
        try:
            while data := self._next_batch():
                sent = self._raw.send(data)
                self._partial = memoryview(data)[sent:] if sent < len(data) else b""
                self._stuck_at = NEVER
        except BlockingIOError:
            self._wait_writable()
        except OSError:
            self._end()
        else:
            self._emptied()

    def _next_batch(self) -> bytes | memoryview:
        """The rest of what was begun, else the next frames joined; the newest pong goes first, between frames."""
        if self._partial:
            return self._partial
        parts = [self._pong] if self._pong else []
        size, self._pong = 0, None
        while self._queue and size < _BATCH:
            parts.append(self._queue.popleft())
            size += len(parts[-1])
        self._queued -= size
        self._partial = parts[0] if len(parts) == 1 else b"".join(parts)
        return self._partial

    def _wait_writable(self) -> None:
        self._flush_due = True
        self._stuck_at = min(self._stuck_at, self._now())
        if not self._writable.active:
            self._writable.start(self._flush)

    def _emptied(self) -> None:
        self._writable.stop()
        self._drained.set()
        if self._close_sent and self._close_received:
            self._end()
        elif self._deaf:
            self._raw.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        """Runs in the event loop when bytes have arrived; must not wait."""
        try:
            data = self._raw.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
        elif not self._close_received and not self._deaf:
            self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        self._pong_by = NEVER
        try:
            for received in self._decoder.feed(data):
                self._handle(received)
        except ProtocolFault as fault:
            self._deaf = True
            self.close(fault.code, fault.reason)

    def _handle(self, received: Received) -> None:
        if received.opcode == TEXT:
            self._deliver(decode_text(received.payload))
        elif received.opcode == PING:
            self._pong = encode_frame(PONG, received.payload)
            self._flush_soon()
        elif received.opcode == CLOSE:
            self._peer_closed(received.payload)

    def _deliver(self, message: str) -> None:
        if self._close_sent:
            return
        if len(self._inbox) >= self._limits.unread_messages:
            raise ProtocolFault(1008, "too many messages at once")
        self._inbox.append(message)
        self._arrived.set()

    def _peer_closed(self, payload: bytes) -> None:
        """Answer the peer's close with its own code; when ours was sent before, this is the end."""
        code, _ = decode_close(payload)
        self._close_received = True
        if self._close_sent:
            self._flush_soon()
        else:
            self.close(1000 if code == 1005 else code, "")

    def _end(self) -> None:
        """Stop watching and shut the connection down; its greenlet, woken by `closed`, closes the socket itself."""
        if self.closed.is_set():
            return
        for watcher in (self._readable, self._writable):
            watcher.stop()
            watcher.close()
        self._queue.clear()
        self._partial = b""
        with suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)
        for event in (self.closed, self._arrived, self._drained):
            event.set()
