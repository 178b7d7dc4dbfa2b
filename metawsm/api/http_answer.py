"""The answer to one request: what a WSGI application returns, framed as HTTP/1.1."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.client import responses
from itertools import chain
from typing import Any

from metawsm.api.http_head import Environ, Refusal, only_plain_lines
from metawsm.api.http_shared import Shared


class Answer:
    """Frames and sends one answer at a time through `send`. Made once per connection, `begin` starts the next answer.

    `closing` says whether the connection ends after this answer, `head_sent` whether an error can still be told.
    """

    def __init__(self, shared: Shared, send: Callable[[bytes], None]) -> None:
        self.closing = False
        self.head_sent = False
        self._shared = shared
        self._send = send
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._written: list[bytes] = []

    def begin(self) -> None:
        """Forget the previous answer."""
        self.head_sent = False
        self._status = ""
        if self._written:
            self._written = []

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """PEP 3333. What is given to the returned `write` is kept and sent before the application's result."""
        if exc_info is not None and self.head_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        self._status = status
        self._headers = headers
        return self._written.append

    def send(self, environ: Environ, result: Iterable[bytes]) -> None:
        """Send what the application returned; ValueError for an answer that HTTP cannot carry."""
        if isinstance(result, (list, tuple)):
            body = result[0] if len(result) == 1 and not self._written else b"".join([*self._written, *result])
            self._send_whole(environ, body)
        else:
            self._send_stream(environ, result)

    def _send_whole(self, environ: Environ, body: bytes) -> None:
        """Head and body in one send."""
        announced = self._announced_length()
        if self._is_bodiless(environ):
            known = announced is not None or self._status[:3] in ("204", "304")
            self._send(self._head(environ, "" if known else f"Content-Length: {len(body)}\r\n"))
        elif announced is None:
            self._send(self._head(environ, f"Content-Length: {len(body)}\r\n") + body)
        elif announced == len(body):
            self._send(self._head(environ, "") + body)
        else:
            raise ValueError(f"the application announced {announced} bytes and returned {len(body)}")

    def _is_bodiless(self, environ: Environ) -> bool:
        """True for answers that end with their head (RFC 9112, 6.3)."""
        return environ["REQUEST_METHOD"] == "HEAD" or self._status[:3] in ("204", "304")

    def _announced_length(self) -> int | None:
        for name, value in self._headers:
            if len(name) == 14 and name.lower() == "content-length":
                return int(value)
        return None

    def _send_stream(self, environ: Environ, result: Iterable[bytes]) -> None:
        """Send piece by piece: with the announced length, else chunked, else (HTTP/1.0) until the connection ends."""
        pieces = iter(result)
        first = next(pieces, b"")  # a generator calls start_response no earlier than this
        announced = self._announced_length()
        may_chunk = environ["SERVER_PROTOCOL"] == "HTTP/1.1" and self._status[:3] not in ("204", "304")
        chunked = announced is None and may_chunk
        self.closing = self.closing or (announced is None and not chunked)
        self._send(self._head(environ, "Transfer-Encoding: chunked\r\n" if chunked else ""))
        if self._is_bodiless(environ):
            return
        sent = sum(self._send_piece(piece, chunked) for piece in chain(self._written, (first,), pieces))
        if chunked:
            self._send(b"0\r\n\r\n")
        elif announced is not None and sent != announced:
            self.closing = True
            raise ValueError(f"the application announced {announced} bytes and returned {sent}")

    def _send_piece(self, piece: bytes, chunked: bool) -> int:
        if piece:
            self._send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        return len(piece)

    def _head(self, environ: Environ, extra: str) -> bytes:
        """The encoded head of the answer. Raises ValueError for a header that would break out of its line."""
        if not self._status:
            raise ValueError("the application did not call start_response")
        if self._shared.stopping:
            self.closing = True
        lines = "".join([f"{name}: {value}\r\n" for name, value in self._headers])
        if self.closing:
            extra += "Connection: close\r\n"
        elif environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            extra += "Connection: keep-alive\r\n"
        head = f"HTTP/1.1 {self._status}\r\n{lines}{extra}Date: {self._shared.date}\r\n\r\n".encode("latin-1")
        if not only_plain_lines(head, len(self._headers) + 3 + extra.count("\r\n")):
            raise ValueError("a response header contains a control character")
        self.head_sent = True
        return head

    def refuse(self, refusal: Refusal) -> None:
        """Answer with the error's body, if nothing was sent yet. The connection ends, as nobody knows what follows."""
        self.closing = True
        if self.head_sent:
            return
        body = self._shared.error_body(refusal.status, refusal.code, refusal.message)
        lines = "".join(f"{name}: {value}\r\n" for name, value in refusal.headers)
        head = (
            f"HTTP/1.1 {refusal.status} {responses.get(refusal.status, 'Error')}\r\n{lines}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\nDate: {self._shared.date}\r\n\r\n"
        )
        self.head_sent = True
        self._send(head.encode("latin-1") + body)
