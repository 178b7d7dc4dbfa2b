"""A crowd of clients: many bare connections in one loop that send posts and settle each one before the next.

The ledger's clients wait for outcomes; these only want acceptance (`wait=0`), so that hundreds of thousands of commands
can be sent in minutes. A post whose answer does not come, or does not tell, is sent again with its own key.
"""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from attrs import define

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import database
from tests.support.redis_servers import ServerHandle

THREADS = 200
REST = 0.05  # seconds before the next attempt of a client that was refused
SETTLED = (200, 201, 202)


@define(eq=False)
class Client:
    """One connection and the number of the post that it has to settle."""

    number: int
    due: float = 0.0
    sock: socket.socket | None = None
    answer: bytes = b""


class Crowd:
    """Sends the posts 0 to `total - 1`; afterwards each has been accepted.

    `name` tells the posts of several crowds of one daemon apart.
    """

    def __init__(self, daemon: Daemon, total: int, clients: int = 48, name: str = "crowd") -> None:
        self.daemon = daemon
        self.total = total
        self.name = name
        self.repeats = 0
        self._next = iter(range(total))
        self._clients = clients
        self._selector = selectors.DefaultSelector()
        self._resting: list[Client] = []
        self._strange: list[bytes] = []

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send everything while the block runs, and to the end after it."""
        self._open_threads()
        loop = threading.Thread(target=self._run)
        loop.start()
        try:
            yield
        finally:
            loop.join()

    def check(self, patience: float = 120.0) -> None:
        """Once the daemon has done all of it: every post is there, once."""
        assert self._strange == []
        eventually(self._is_done, timeout=patience, interval=0.1)
        with database(self.daemon.database) as db:
            counted = "SELECT body, count(*) FROM forum_posts WHERE body GLOB ? GROUP BY 1"
            found: dict[str, int] = dict(db.execute(counted, (f"{self.name}-*",)))
        wanted = [f"{self.name}-{number}" for number in range(self.total)]
        assert [tag for tag in wanted if tag not in found][:9] == [], "accepted and not applied"
        assert [tag for tag, times in found.items() if times > 1][:9] == [], "applied twice"
        assert len(found) == self.total

    def _is_done(self) -> bool:
        outbox = self.daemon.request("GET", "/health").body["outbox"]
        return bool(outbox["pending_count"] == outbox["processing_count"] == 0)

    def _open_threads(self) -> None:
        for place in range(THREADS):
            body = {"ticket": "MET-1", "title": "One of many", "body": "?", "actor_type": "agent"}
            thread = {"thread_id": f"fthr-{self.name}-{place}"}
            assert self.daemon.request("POST", "/forum/threads?wait=0", body | thread).status == 202

    def _run(self) -> None:
        self._resting = [Client(number) for number in islice(self._next, self._clients)]
        while self._resting or self._selector.get_map():
            now = time.monotonic()
            ready = [client for client in self._resting if client.due <= now]
            self._resting = [client for client in self._resting if client.due > now]
            for client in ready:
                self._send(client)
            for key, _ in self._selector.select(0.02):
                self._receive(key.data)

    def _send(self, client: Client) -> None:
        try:
            if client.sock is None:
                client.sock = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=5)
                client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(client.sock, selectors.EVENT_READ, client)
            client.answer = b""
            client.sock.sendall(self._request(client.number))
        except OSError:
            self._retry(client)

    def _request(self, number: int) -> bytes:
        tag = f"{self.name}-{number}"
        body = json.dumps({"body": tag, "actor_type": "agent"}).encode()
        return (
            f"POST /api/v1/forum/threads/fthr-{self.name}-{number % THREADS}/posts?wait=0 HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.daemon.port}\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {tag}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def _receive(self, client: Client) -> None:
        try:
            data = client.sock.recv(65536) if client.sock else b""
        except OSError:
            data = b""
        if not data:
            self._retry(client)
            return
        client.answer += data
        if _is_whole(client.answer):
            self._settle(client, int(client.answer[9:12]))

    def _settle(self, client: Client, status: int) -> None:
        if status in (500, 503):
            self._retry(client)
            return
        if status not in SETTLED:
            self._strange.append(client.answer)
        self._follow(client)

    def _follow(self, client: Client) -> None:
        """The client's next post; without one it goes."""
        following = next(self._next, None)
        if following is None:
            self._leave(client)
        else:
            client.number = following
            self._send(client)

    def _retry(self, client: Client) -> None:
        """The same post again, on a new connection, a little later."""
        self._leave(client)
        self.repeats += 1
        client.due = time.monotonic() + REST
        self._resting.append(client)

    def _leave(self, client: Client) -> None:
        if client.sock is not None:
            with suppress(KeyError):
                self._selector.unregister(client.sock)
            client.sock.close()
            client.sock = None


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or 0)


def accepted_without_redis(broker: ServerHandle, start: Callable[..., Daemon], commands: int) -> tuple[Daemon, Crowd]:
    """A daemon that has accepted so many commands while its Redis is stopped, and the crowd that sent them."""
    broker.stop()
    daemon = start("--redis", broker.url, needs_redis=False)
    crowd = Crowd(daemon, commands)
    with crowd.sending():
        pass
    return daemon, crowd
