"""A TCP server on this machine that plays a script: one step per connection, each a function of the socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[socket.socket], None]


class ScriptedServer:
    """Plays `steps` in the order of the connections; the last one is repeated. Remembers the requests it read."""

    def __init__(self, steps: list[Step], family: int = socket.AF_INET) -> None:
        self.requests: list[bytes] = []
        self._steps = steps
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(16)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        count = 0
        while True:
            try:
                sock, _peer = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            step = self._steps[min(count, len(self._steps) - 1)]
            count += 1
            threading.Thread(target=self._play, args=(step, sock), daemon=True).start()

    def _play(self, step: Step, sock: socket.socket) -> None:
        try:
            step(sock)
        except OSError:
            return
        finally:
            sock.close()

    def read_request(self, sock: socket.socket) -> bytes:
        """Read one request with its body and remember it; empty when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _mark, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += sock.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def close(self) -> None:
        """Stop listening and cut all connections."""
        self._listener.close()
        for sock in self._open:
            sock.close()


@contextmanager
def scripted(
    *steps: Callable[[ScriptedServer, socket.socket], None], family: int = socket.AF_INET
) -> Iterator[ScriptedServer]:
    """Run a server whose steps get the server and the socket."""
    holder: list[ScriptedServer] = []

    def bound(step: Callable[[ScriptedServer, socket.socket], None]) -> Step:
        return lambda sock: step(holder[0], sock)

    server = ScriptedServer([bound(step) for step in steps], family)
    holder.append(server)
    try:
        yield server
    finally:
        server.close()


def answer(status: int, body: bytes, *headers: str) -> bytes:
    """An HTTP answer with a Content-Length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def header(request: bytes, name: str) -> str:
    """The value of a request's header, or an empty text."""
    for line in request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        key, _colon, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return ""
