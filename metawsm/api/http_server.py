"""The HTTP server: accepts connections for any WSGI application, bounds them, and stops in an orderly way."""

from __future__ import annotations

import os
import socket
import sys
import time
from email.utils import formatdate
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from metawsm.api.http_handler import Connection
from metawsm.api.http_head import Environ
from metawsm.api.http_shared import ErrorBody, Limits, Shared, WSGIApp
from metawsm.domain.errors import Refused

_BACKLOG = 1024


class HttpServer:
    """Serves `app` on `address` (host, port; port 0 picks a free one) with a greenlet per connection.

    `error_body(status, code, message)` makes the JSON of every error this layer answers itself. The process should be
    monkey-patched, and its limit of open files should exceed `limits.connections`.
    """

    def __init__(
        self, address: tuple[str, int], app: WSGIApp, *, error_body: ErrorBody, limits: Limits | None = None
    ) -> None:
        self._shared = Shared(app, error_body, limits or Limits(), _base_environ(address))
        self._pool = Pool(self._shared.limits.connections)
        self._server = StreamServer(address, self._handle, backlog=_BACKLOG, spawn=self._pool)
        self._open: set[Connection] = set()
        self._ticker: Any = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on; the real port once started."""
        host, port = self._server.address[:2]
        return str(host), int(port)

    @property
    def connections(self) -> int:
        """How many connections are open, WebSockets included."""
        return len(self._open)

    def start(self) -> None:
        """Listen and serve in the background. Raises Refused when the address cannot be used."""
        try:
            self._server.start()
        except OSError as error:
            raise _cannot_listen(self.address, error) from error
        self._shared.environ["SERVER_PORT"] = str(self.address[1])
        self._set_date()
        self._ticker = gevent.spawn(self._tick_for_ever)

    def stop(self, timeout: float = 5.0) -> None:
        """Stop accepting, answer what is in flight, close idle connections and WebSockets (1001).

        What still runs after `timeout` seconds is cut off.
        """
        self._shared.stopping = True
        self._server.close()
        for connection in list(self._open):
            connection.finish()
        self._pool.join(timeout)
        for connection in list(self._open):
            connection.abort()
        self._pool.kill(timeout=1)
        if self._ticker is not None:
            self._ticker.kill()

    def _handle(self, sock: Any, address: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, address, self._shared)
        self._open.add(connection)
        try:
            connection.handle()
        finally:
            self._open.discard(connection)

    def _tick_for_ever(self) -> None:
        """One loop watches over all deadlines: a timer per wait would cost more than parsing the request."""
        interval = _tick_seconds(self._shared.limits)
        before = time.monotonic()
        while True:
            gevent.sleep(interval)
            now = time.monotonic()
            self._shared.now += min(now - before, 2 * interval)
            before = now
            self._tick()

    def _tick(self) -> None:
        self._set_date()
        for connection in list(self._open):
            connection.tick(self._shared.now)
        if self._pool.full():
            self._make_room()

    def _make_room(self) -> None:
        """With all connections taken, those idle for longest give way: idle clients must not lock out busy ones."""
        idle = sorted((each for each in self._open if each.idle), key=lambda each: each.deadline)
        for connection in idle[: max(1, len(idle) // 10)]:
            connection.finish()

    def _set_date(self) -> None:
        self._shared.date = formatdate(usegmt=True)


def check_address(address: tuple[str, int]) -> None:
    """Look whether `address` can be listened on, before anything is made. Raises Refused when it cannot be used."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise _cannot_listen(address, error) from error


def _cannot_listen(address: tuple[str, int], error: OSError) -> Refused:
    why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    return Refused(f"cannot listen on {address[0]}:{address[1]}: {why}; choose another with --addr")


def _base_environ(address: tuple[str, int]) -> Environ:
    """What is the same for every request (PEP 3333)."""
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": address[0],
        "SERVER_PORT": str(address[1]),
        "SERVER_SOFTWARE": "metawsm",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }


def _tick_seconds(limits: Limits) -> float:
    """How often deadlines are looked at: each second, or finer where a limit asks for it."""
    shortest = min(limits.header_seconds, limits.body_seconds, limits.send_seconds, limits.idle_seconds)
    return max(0.01, min(1.0, shortest / 4))
