"""One connection with many requests at once does not keep the others from their turn."""

from __future__ import annotations

import socket
from typing import Any

import gevent

from metawsm.api.http_server import HttpServer

MANY = 40


def test_many_requests_at_once_let_others_through() -> None:
    """What another client sends while the fifth is answered comes in before the one behind the next."""
    seen: list[str] = []

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        if len(seen) == 6:  # the other's first, and five of these
            other.sendall(request("/other"))
        start("200 OK", [("Content-Length", "0")])
        return [b""]

    server = HttpServer(("127.0.0.1", 0), app, error_body=lambda status, code, message: b"")
    server.start()
    with socket.create_connection(server.address) as other, socket.create_connection(server.address) as hasty:
        other.sendall(request("/first"))
        wait_for(seen, 1)
        hasty.sendall(request("/many") * MANY)
        wait_for(seen, MANY + 2)
    server.stop(1)
    assert seen.index("/other") <= 10  # 7, or a little later where the system is slow to bring it; else behind all
    assert seen.count("/many") == MANY


def request(path: str) -> bytes:
    """The least that is a request."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def wait_for(seen: list[str], count: int) -> None:
    """Let the server run until so many requests have come in."""
    with gevent.Timeout(10):
        while len(seen) < count:
            gevent.sleep(0.002)
