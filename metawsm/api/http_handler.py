"""One HTTP connection: requests in, a WSGI application's answers out, keep-alive in between.

It reads straight from the socket and parses a whole head at once; pywsgi's handler reads line by line through two file
objects and costs twice as much per request (docs/decisions/0002-websocket.md has the figures).
"""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent

from metawsm.api.http_answer import Answer
from metawsm.api.http_head import (
    ChunkedBody,
    Environ,
    Refusal,
    body_length,
    malformed,
    read_head,
    wants_close,
    wants_continue,
)
from metawsm.api.http_shared import NEVER, Shared
from metawsm.api.turns import NEXT_TURN

if TYPE_CHECKING:
    from metawsm.api.websocket import Socket, SocketLimits

_CHUNK = 16384
"""Bytes read at once: large enough for any usual request, small enough to bound what one wake-up has to parse."""

_LINGER_SECONDS = 2.0

_LOG = logging.getLogger("metawsm.http")


class _Gone(Exception):
    """The client cannot be written to any more. No OSError: those of the application must not be taken for it."""


class Connection:
    """One accepted socket. `handle` runs in its own greenlet; `tick`, `finish` and `abort` are called by the server."""

    def __init__(self, sock: Any, address: Any, shared: Shared) -> None:
        self._sock = sock
        self._raw = sock._sock  # noqa: SLF001  gevent waits in its own wrapper; ticks and sockets must not wait
        self.websocket: Socket | None = None
        self.buffer = b""
        self.idle = True
        self.deadline = shared.now + shared.limits.header_seconds
        self._shared = shared
        self._expired = self._answered = False
        self._answer = Answer(shared, self._send)
        self._base = dict(shared.environ)
        self._base["metawsm.connection"] = self
        self._base["REMOTE_ADDR"], self._base["REMOTE_PORT"] = str(address[0]), str(address[1])

    def handle(self) -> None:
        """Answer requests until either side ends the connection. A client that disappears is no error."""
        with suppress(OSError, _Gone):
            while self._answer_one():
                pass

    def upgrade(self, head: bytes, limits: SocketLimits) -> Socket:
        """Make this connection a WebSocket: `head` is the 101 answer, what the client sent early goes to the socket."""
        from metawsm.api.websocket import Socket

        early, self.buffer = self.buffer, b""
        self.websocket = Socket(self._raw, self._shared.read_now, limits, head, early)
        return self.websocket

    def tick(self, now: float) -> None:
        """Cut what took too long: reading ends with a 408 (or silently between requests), sending ends hard."""
        if self.websocket is not None:
            self.websocket.tick(now)
        elif now > self.deadline:
            self.deadline = NEVER
            self._expired = True
            self._shutdown(socket.SHUT_RDWR if self._answer.head_sent else socket.SHUT_RD)

    def finish(self) -> None:
        """Begin to stop: an idle connection ends now, unless its next request has already arrived."""
        if self.websocket is not None:
            self.websocket.close(1001, "the server is stopping")
        elif self.idle and not self._has_input():
            self._shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """End the connection now, whatever it is doing."""
        if self.websocket is not None:
            self.websocket.abort()
        self._shutdown(socket.SHUT_RDWR)

    def _has_input(self) -> bool:
        try:
            return bool(self._raw.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _shutdown(self, how: int) -> None:
        """Shut the socket down below gevent, so that the waiting greenlet sees an end of file and not an exception."""
        with suppress(OSError):
            self._raw.shutdown(how)

    def _answer_one(self) -> bool:
        """Read one request, run the application, send its answer. False when the connection is to end."""
        self._answer.begin()
        try:
            environ = self._read_request()
            if environ is None:
                return False
            self._run(environ)
            self._answered = True
        except Refusal as refusal:
            self._expired = False
            self._answer.refuse(refusal)
            self._linger()
        return not self._answer.closing and self.websocket is None

    def _receive(self) -> bytes:
        """The next bytes from the client, empty at its end. Raises Refusal 408 when the request took too long."""
        data: bytes = self._sock.recv(_CHUNK)
        if self._expired and not self.idle:
            raise Refusal(408, "request_timeout", "The request did not arrive in time.")
        return b"" if self._expired else data

    def _read_request(self) -> Environ | None:
        """The WSGI environ of the next request with its body already read, None when there is no further request."""
        shared = self._shared
        if not self.buffer:
            self.idle = True
            self.deadline = shared.now + shared.limits.idle_seconds
            if self._answered:  # then there is nothing to read yet: to be told so costs a call and an exception
                self._sock._wait(self._sock._read_event)  # noqa: SLF001  as gevent's `recv` does when told so
            self.buffer = self._receive()
            if not self.buffer:
                return None
        elif self._answered:
            gevent.sleep(NEXT_TURN)  # many requests at once must not keep others from their turn
        self.idle = False
        end = self.buffer.find(b"\r\n\r\n")
        if end <= 0 or end > shared.limits.header_bytes or self.buffer[0] == 13:
            end = self._read_rest_of_head()
        environ = self._base.copy()
        read_head(self.buffer[:end], environ, shared.limits.header_lines)
        self.buffer = self.buffer[end + 4 :]
        self._answer.closing = wants_close(environ)
        length = body_length(environ, shared.limits.body_bytes)
        environ["wsgi.input"] = io.BytesIO(self._read_body(environ, length) if length else b"")
        self.deadline = NEVER
        return environ

    def _read_rest_of_head(self) -> int:
        """Read until the empty line that ends the head; its position in the buffer."""
        shared = self._shared
        self.deadline = shared.now + shared.limits.header_seconds
        while True:
            self.buffer = self.buffer.lstrip(b"\r\n") if self.buffer[:1] in b"\r\n" else self.buffer
            end = self.buffer.find(b"\r\n\r\n")
            _check_head_so_far(self.buffer, end, shared.limits.header_bytes)
            if end >= 0:
                return end
            data = self._receive()
            if not data:
                raise malformed("The connection ended within the request head.")
            self.buffer += data

    def _read_body(self, environ: Environ, length: int) -> bytes:
        """The whole body, read before the application runs: a slow client holds a greenlet, never a handler."""
        if wants_continue(environ) and not self.buffer:
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.deadline = self._shared.now + self._shared.limits.body_seconds
        if length < 0:
            return self._with_room(self._shared.limits.body_bytes, self._read_chunked)
        if len(self.buffer) < length:
            self._with_room(length, lambda: self._fill(length))
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def _with_room(self, size: int, read: Callable[[], bytes]) -> bytes:
        """Run `read` while `size` bytes are taken from what all connections may have on the way. Raises Refusal 503."""
        shared = self._shared
        if shared.unread + size > shared.limits.unread_bytes:
            raise Refusal(503, "overloaded", "Too many bodies are on their way.", (("Retry-After", "1"),))
        shared.unread += size
        try:
            return read()
        finally:
            shared.unread -= size

    def _fill(self, length: int) -> bytes:
        parts = [self.buffer]
        missing = length - len(self.buffer)
        while missing > 0:
            parts.append(self._receive_body())
            missing -= len(parts[-1])
        self.buffer = b"".join(parts)
        return self.buffer

    def _read_chunked(self) -> bytes:
        body = ChunkedBody(self._shared.limits.body_bytes)
        data, self.buffer = self.buffer, b""
        while not body.feed(data):
            data = self._receive_body()
        self.buffer = body.rest()
        return bytes(body.content)

    def _receive_body(self) -> bytes:
        data = self._receive()
        if not data:
            raise malformed("The connection ended within the request body.")
        return data

    def _run(self, environ: Environ) -> None:
        """Run the application and send what it returns. A fault in it is logged and answered with a 500."""
        result: Iterable[bytes] = ()
        try:
            result = self._shared.app(environ, self._answer.start_response)
            if self.websocket is None:
                self._answer.send(environ, result)
        except (Refusal, _Gone):
            raise
        except Exception:  # noqa: BLE001  whatever the application did, its client gets an answer
            self._failed(environ)
        finally:
            if hasattr(result, "close"):
                result.close()
            self._end_websocket()

    def _failed(self, environ: Environ) -> None:
        _LOG.exception("the application failed at %s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if self.websocket is not None:
            self.websocket.close(1011, "the server failed; its log says why")
        else:
            self._answer.refuse(Refusal(500, "internal", "The request failed inside the server; its log says why."))

    def _end_websocket(self) -> None:
        if self.websocket is not None:
            self.websocket.close(1000, "")
            self.websocket.wait_closed()

    def _send_all(self, data: bytes) -> None:
        """Most answers fit into the socket's buffer: then gevent's own loop over `send` is not needed."""
        try:
            sent = self._raw.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._sock.sendall(memoryview(data)[sent:])

    def _send(self, data: bytes) -> None:
        self._answer.head_sent = True
        self.deadline = self._shared.now + self._shared.limits.send_seconds
        try:
            self._send_all(data)
        except OSError as error:
            raise _Gone from error
        self.deadline = NEVER

    def _linger(self) -> None:
        """Read and forget what the client still sends: closing with unread input would reset the answer away."""
        self._shutdown(socket.SHUT_WR)
        self.deadline = self._shared.now + _LINGER_SECONDS
        while not self._expired and self._sock.recv(_CHUNK):
            pass


def _check_head_so_far(buffer: bytes, end: int, limit: int) -> None:
    """Refuse early what can never become a good head: too large, not HTTP at all, or with bare line feeds."""
    if (end if end >= 0 else len(buffer)) > limit:
        if b"\r\n" not in buffer[:limit]:
            raise Refusal(414, "uri_too_long", f"The request line is longer than {limit} bytes.")
        raise Refusal(431, "headers_too_large", f"The request head is larger than {limit} bytes.")
    if end < 0 and ((buffer and not buffer[:1].isalpha()) or b"\n\n" in buffer or b"\n\r\n" in buffer):
        raise malformed("This is not an HTTP/1.1 request with lines that end in CRLF.")
