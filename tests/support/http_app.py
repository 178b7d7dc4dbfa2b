"""A small WSGI application on the real server, run as a process: `python -m tests.support.http_app [LIMITS AS JSON]`.

It prints its port, answers the paths in `ROUTES`, and stops in an orderly way at SIGTERM.
"""

from __future__ import annotations

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from metawsm.api.http_server import HttpServer
from metawsm.api.http_shared import Limits
from metawsm.api.websocket import Socket, SocketLimits, accept, encode_text

Environ = dict[str, Any]
Start = Callable[..., Any]
SUBSCRIBERS: set[Socket] = set()
DRAINED: list[bool] = []
SETTINGS: dict[str, Any] = json.loads(sys.argv[1]) if __name__ == "__main__" and len(sys.argv) > 1 else {}
SERVERS: list[HttpServer] = []


def error_body(status: int, code: str, message: str) -> bytes:
    """The error object of the contract."""
    return json.dumps({"error": {"code": code, "message": message, "correlation_id": "test"}}).encode()


def echo(environ: Environ, start: Start) -> list[bytes]:
    """Say what arrived."""
    body = environ["wsgi.input"].read()
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    return reply(start, {"environ": seen, "length": len(body), "body": body.decode("latin-1")})


def reply(start: Start, value: Any) -> list[bytes]:
    """A JSON answer with its length left to the server."""
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]


def slow(environ: Environ, start: Start) -> list[bytes]:
    """Answer after the seconds given as query."""
    gevent.sleep(float(environ["QUERY_STRING"]))
    return reply(start, "slept")


def stream(environ: Environ, start: Start) -> Iterator[bytes]:
    """Three pieces, one of them empty; announced when the query says so."""
    start("200 OK", [("Content-Length", environ["QUERY_STRING"])] if environ["QUERY_STRING"] else [])
    yield from (b"one,", b"", b"two,", b"three")


def big(environ: Environ, start: Start) -> list[bytes]:
    """An answer larger than any kernel buffer."""
    start("200 OK", [])
    return [b"x" * 20_000_000]


def fail(environ: Environ, start: Start) -> list[bytes]:
    """A fault of the application."""
    raise RuntimeError("a secret inside")


def fail_os(environ: Environ, start: Start) -> list[bytes]:
    """A fault that looks like a broken connection, but is the application's own."""
    raise ConnectionResetError("of something behind the application")


def short(environ: Environ, start: Start) -> list[bytes]:
    """Announces more than it returns."""
    start("200 OK", [("Content-Length", "100")])
    return [b"too short"]


def inject(environ: Environ, start: Start) -> list[bytes]:
    """Tries to break out of a header line."""
    start("200 OK", [("X-Test", "a\r\nSet-Cookie: b=c")])
    return [b""]


def empty(environ: Environ, start: Start) -> list[bytes]:
    """A 204."""
    start("204 No Content", [])
    return []


def write(environ: Environ, start: Start) -> list[bytes]:
    """Uses the old write callable."""
    start("200 OK", [])(b"written, ")
    return [b"returned"]


def stats(environ: Environ, start: Start) -> list[bytes]:
    """What the server counts."""
    counts = {"connections": SERVERS[0].connections, "subscribers": len(SUBSCRIBERS)}
    return reply(start, counts | {"rss": _rss(), "drained": DRAINED})


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def upgrade(environ: Environ) -> Socket:
    """Accept a WebSocket unless it comes from evil.example."""
    limits = SocketLimits(**SETTINGS.get("socket", {}))
    return accept(environ, origin_allowed=lambda env: env.get("HTTP_ORIGIN") != "http://evil.example", limits=limits)


def ws_echo(environ: Environ, start: Start) -> list[bytes]:
    """Send back every message; `close:CODE:REASON` closes, `fail` fails."""
    socket = upgrade(environ)
    while (message := socket.receive()) is not None:
        if message == "fail":
            raise RuntimeError("inside a socket")
        if message.startswith("close:"):
            _, code, reason = message.split(":")
            socket.close(int(code), reason)
        socket.send_text(message)
    return []


def ws_feed(environ: Environ, start: Start) -> list[bytes]:
    """Subscribe to what is posted to /broadcast."""
    socket = upgrade(environ)
    SUBSCRIBERS.add(socket)
    socket.wait_closed()
    SUBSCRIBERS.discard(socket)
    return []


def ws_flood(environ: Environ, start: Start) -> list[bytes]:
    """Send the number of messages given as query, waiting whenever the queue has filled up."""
    socket = upgrade(environ)
    for number in range(int(environ["QUERY_STRING"])):
        socket.send_text(f"{number:06d}" + "x" * 1000)
        if number % 100 == 99:
            socket.wait_drained(10)
    return []


def ws_large(environ: Environ, start: Start) -> list[bytes]:
    """Send one large message, and note whether the kernel had all of it within half a second."""
    socket = upgrade(environ)
    socket.wait_drained(10)
    socket.send_text("x" * 6_000_000)
    DRAINED.append(socket.wait_drained(0.5))
    socket.wait_closed()
    return []


def broadcast(environ: Environ, start: Start) -> list[bytes]:
    """Encode the body once and send it to all subscribers; answers who took it and the microseconds per frame."""
    import time

    frame = encode_text(environ["wsgi.input"].read())
    began = time.perf_counter()
    taken = sum(socket.send_frame(frame) for socket in list(SUBSCRIBERS))
    gevent.sleep(0)
    spent = (time.perf_counter() - began) * 1e6
    return reply(start, {"taken": taken, "microseconds": spent / max(1, taken)})


ROUTES: dict[str, Callable[[Environ, Start], Iterable[bytes]]] = {
    "/echo": echo,
    "/slow": slow,
    "/stream": stream,
    "/big": big,
    "/fail": fail,
    "/fail-os": fail_os,
    "/short": short,
    "/inject": inject,
    "/empty": empty,
    "/write": write,
    "/stats": stats,
    "/broadcast": broadcast,
    "/ws/echo": ws_echo,
    "/ws/feed": ws_feed,
    "/ws/flood": ws_flood,
    "/ws/large": ws_large,
}


def app(environ: Environ, start: Start) -> Iterable[bytes]:
    """The application: one function per path, `/echo` for all others."""
    return ROUTES.get(environ["PATH_INFO"], echo)(environ, start)


def main() -> None:
    """Serve until SIGTERM."""
    limits = Limits(**SETTINGS.get("http", {}))
    server = HttpServer(("127.0.0.1", 0), app, error_body=error_body, limits=limits)
    server.start()
    SERVERS.append(server)
    stopping = Event()
    gevent.signal_handler(signal.SIGTERM, stopping.set)
    print(server.address[1], flush=True)
    stopping.wait()
    server.stop(SETTINGS.get("stop_seconds", 3))


if __name__ == "__main__":
    main()
