"""One HTTP/1.1 connection over a plain socket: send a request, read one answer, keep it for the next."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

from metawsm.client.address import Address
from metawsm.client.errors import BadAnswer, DaemonUnreachable

DEFAULT_PORT = 3001
HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024
CHUNK = 64 * 1024


class Response(NamedTuple):
    """An answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(Exception):
    """The connection broke before the whole answer was there; whether the request was handled is not known."""


class Silent(Lost):
    """The connection stands, but the answer did not come in time; asking again would only add to the load."""


def dial(address: Address, seconds: float) -> socket.socket:
    """Connect, over IPv4 or IPv6. DaemonUnreachable says why not and what to do; proxies are never used."""
    try:
        host = address.host.encode("ascii")  # as bytes, so that the resolver does not load the tables of IDNA
    except UnicodeEncodeError:
        host = address.host.encode("idna")
    try:
        sock = socket.create_connection((host, address.port), seconds)  # type: ignore[arg-type] # bytes work
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _secured(sock, address) if address.secure else sock
    except OSError as error:
        raise unreachable(address, _reason(error)) from None


def _secured(sock: socket.socket, address: Address) -> socket.socket:
    """TLS with the system's certificates."""
    import ssl  # slow to load and seldom needed

    return ssl.create_default_context().wrap_socket(sock, server_hostname=address.host)


def _reason(error: OSError) -> str:
    """Why a connection failed, in words."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "connecting took too long"
    if isinstance(error, socket.gaierror):
        return "the host name is not known"
    if type(error).__module__ == "ssl":
        return f"no secure connection, is it http:// there? ({getattr(error, 'reason', None) or 'no certificate'})"
    return (error.strerror or str(error)).lower()


def unreachable(address: Address, reason: str, hint: str = "") -> DaemonUnreachable:
    """The error for a daemon that does not answer: where, why, and what to do."""
    return DaemonUnreachable(
        f"{reason}: no metawsm daemon answers at {address.url};"
        f" start it{_how(address)}, or name another with --server{hint}"
    )


def _how(address: Address) -> str:
    """The command that starts a daemon at an address of this machine."""
    if address.secure or address.base or not address.is_loopback:
        return " there"
    where = "" if address.port == DEFAULT_PORT else f" --addr {address.authority}"
    return f" with `metawsm.pyz serve{where}`"


class Connection:
    """A connection in use by one request at a time. `fresh` until it has carried an answer."""

    def __init__(self, address: Address, seconds: float) -> None:
        self.address = address
        self.fresh = True
        self._buffer = b""
        self._socket = dial(address, seconds)
        self._deadline = 0.0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def detach(self) -> tuple[socket.socket, bytes]:
        """Hand over the socket, and what was read beyond the answer, to another protocol."""
        return self._socket, self._buffer

    def exchange(self, head: bytes, body: bytes, seconds: float, *, has_body: bool = True) -> tuple[Response, bool]:
        """Send a request and read its answer; also says whether the connection may be used again.

        Raises Lost when the connection breaks, Silent after `seconds`, BadAnswer for what is not HTTP.
        """
        self._deadline = time.monotonic() + seconds
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(head + body)
            answer = self._answer(has_body)
        except TimeoutError:
            raise Silent(f"no answer within {seconds:g} s") from None
        except OSError as error:
            raise Lost(_reason(error)) from None
        self.fresh = False
        return answer

    def _answer(self, has_body: bool) -> tuple[Response, bool]:
        """The next answer that is not an interim one (1xx)."""
        status, http11, headers = self._head()
        while 100 <= status < 200 and status != 101:
            status, http11, headers = self._head()
        body, framed = self._body(headers) if has_body and status not in (101, 204, 304) else (b"", True)
        keep = framed and http11 and headers.get("connection", "").lower() != "close"
        return Response(status, headers, body), keep

    def _head(self) -> tuple[int, bool, dict[str, str]]:
        """Status, whether HTTP/1.1, and headers of one answer."""
        lines = self._until(b"\r\n\r\n", HEAD_LIMIT).decode("latin-1").split("\r\n")
        version, _space, rest = lines[0].partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
            raise BadAnswer(f"what answers at {self.address.url} does not speak HTTP; is it another program's port?")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _colon, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(rest[:3]), version == "HTTP/1.1", headers

    def _body(self, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """The body, and whether its end was marked (else it ended with the connection)."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked(), True
        if "content-length" in headers:
            return self._exactly(self._length(headers["content-length"], 10)), True
        data = bytearray(self._buffer)
        while piece := self._receive():
            data += piece
            self._length(str(len(data)), 10)
        return bytes(data), False

    def _chunked(self) -> bytes:
        """A body in chunks; trailers are read and dropped."""
        data = bytearray()
        while size := self._length(self._until(b"\r\n", 1024).split(b";")[0].decode("latin-1").strip(), 16):
            data += self._exactly(size)
            self._length(str(len(data)), 10)
            if self._exactly(2) != b"\r\n":
                raise BadAnswer(f"the answer from {self.address.url} is not well-formed (chunks)")
        while self._until(b"\r\n", HEAD_LIMIT):
            pass
        return bytes(data)

    def _length(self, text: str, base: int) -> int:
        """A length from the wire, below the limit."""
        try:
            length = int(text, base)
        except ValueError:
            length = -1
        if length < 0:
            raise BadAnswer(f"the answer from {self.address.url} is not well-formed (length {text[:20]!r})")
        if length > BODY_LIMIT:
            raise BadAnswer(f"the answer from {self.address.url} is too large (over {BODY_LIMIT >> 20} MiB)")
        return length

    def _until(self, mark: bytes, limit: int) -> bytes:
        """What comes before `mark`, which is consumed."""
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > limit:
                raise BadAnswer(f"the answer from {self.address.url} has a head over {limit} bytes")
            self._more()
        data, self._buffer = self._buffer[:end], self._buffer[end + len(mark) :]
        return data

    def _exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        parts = [self._buffer[:size]]
        missing = size - len(parts[0])
        self._buffer = self._buffer[size:]
        while missing:
            piece = self._receive()
            if not piece:
                raise Lost("the connection was closed in mid-answer")
            parts.append(piece[:missing])
            self._buffer = piece[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def _more(self) -> None:
        """Put what has arrived into the buffer."""
        piece = self._receive()
        if not piece:
            raise Lost("the connection was closed in mid-answer")
        self._buffer += piece

    def _receive(self) -> bytes:
        """What arrives before the deadline; empty at the end of the stream."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket.recv(CHUNK)
