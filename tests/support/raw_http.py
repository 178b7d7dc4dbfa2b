"""An HTTP client that sends exactly the bytes it is given."""

from __future__ import annotations

import json
import socket
from typing import Any

from attrs import frozen


@frozen
class Answer:
    """One parsed response; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class RawHttp:
    """One connection to 127.0.0.1. Use as a context manager."""

    def __init__(self, port: int, timeout: float = 10.0, receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self.buffer = b""

    def __enter__(self) -> RawHttp:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.sock.sendall(data)

    def ask(self, data: bytes, head_only: bool = False) -> Answer:
        """Send a request and read its answer."""
        self.send(data)
        return self.read(head_only)

    def get(self, target: str) -> Answer:
        """A plain GET over the kept-alive connection."""
        return self.ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def read(self, head_only: bool = False) -> Answer:
        """Read one response: by its length, chunked, or until the end."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        bodiless = head_only or status in (204, 304) or status < 200
        return Answer(status, headers, b"" if bodiless else self._body(headers))

    def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.read_to_end()

    def _chunk(self) -> bytes:
        size = int(self._until(b"\r\n"), 16)
        return self._exactly(size + 2)[:-2]

    def read_to_end(self) -> bytes:
        """Everything until the server closes."""
        while self._more():
            pass
        return self._exactly(len(self.buffer))

    def is_closed(self) -> bool:
        """Wait for the server's end of the connection; True when it came, with nothing more before it."""
        return self.buffer == b"" and not self._more()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            assert self._more(), f"the connection ended after {self.buffer[:200]!r}"
        return self._exactly(self.buffer.index(mark) + len(mark))

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            assert self._more(), f"the connection ended {size - len(self.buffer)} bytes early"
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)


def post(body: bytes, *headers: str, target: str = "/echo") -> bytes:
    """The bytes of a POST; without a header about its framing, Content-Length is added."""
    framed = any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers)
    lines = [f"POST {target} HTTP/1.1", "Host: x", *headers, *([] if framed else [f"Content-Length: {len(body)}"])]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
