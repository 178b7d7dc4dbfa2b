"""A TCP proxy in front of a real server that breaks what passes through it: cuts, halves, delays, swallows.

The client's side is a port of 127.0.0.1; the server's side is a unix socket. One thread serves all connections.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends a reset
TURN = 0.01  # seconds between two looks at the mode


@define(eq=False)
class Link:
    """One connection, both of its ends. `silent`: half a reply was its last."""

    client: socket.socket
    server: socket.socket
    silent: bool = False


class FaultProxy:
    """Forwards to `server`. `mode` may be changed at any time and holds for open connections, too:

    - `pass`: everything goes through;
    - `cut`: one of `rarity` replies is forwarded up to its middle, then the connection is reset;
    - `half`: one of `rarity` replies is forwarded up to its middle, then nothing more comes on that connection;
    - `delay`: every reply comes `delay` seconds late;
    - `black hole`: connections are taken, and nothing passes in either direction.
    """

    def __init__(self, server: Path, *, rarity: int = 20, delay: float = 0.05) -> None:
        self.mode = "pass"
        self.broken = 0  # replies that did not come through whole
        self._server = server
        self._rarity = rarity
        self._delay = delay
        self._dice = random.Random(11)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._selector = selectors.DefaultSelector()
        self._links: set[Link] = set()
        self._late: list[tuple[float, Link, bytes]] = []
        self._over = False

    @property
    def url(self) -> str:
        """What goes into `--redis`."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    @contextmanager
    def running(self) -> Iterator[FaultProxy]:
        """Serve inside the block; at its end all connections are reset."""
        loop = threading.Thread(target=self._run)
        loop.start()
        try:
            yield self
        finally:
            self._over = True
            loop.join()

    def _run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._over:
            for key, _ in self._selector.select(TURN):
                if key.data is None:
                    self._accept()
                elif self.mode != "black hole":
                    self._forward(key.data, is_reply=key.fileobj is key.data.server)
            if self.mode == "black hole":
                time.sleep(TURN)  # what cannot pass stays readable
            self._send_late()
            for link in [link for link in self._links if link.silent and self.mode != "half"]:
                self._reset(link)
        for link in list(self._links):
            self._reset(link)
        self._listener.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(client, socket.socket(socket.AF_UNIX))
        self._links.add(link)
        try:
            link.server.connect(str(self._server))
        except OSError:
            self._reset(link)
            return
        for end in (client, link.server):
            self._selector.register(end, selectors.EVENT_READ, link)

    def _forward(self, link: Link, is_reply: bool) -> None:
        source, target = (link.server, link.client) if is_reply else (link.client, link.server)
        try:
            data = source.recv(1 << 16) if source.fileno() >= 0 else b""
            if not data:
                self._reset(link)
            elif is_reply:
                self._reply(link, data)
            else:
                target.sendall(data)
        except OSError:
            self._reset(link)

    def _reply(self, link: Link, data: bytes) -> None:
        if link.silent:
            return
        if self.mode in ("cut", "half") and self._dice.randrange(self._rarity) == 0:
            self.broken += 1
            link.client.sendall(data[: len(data) // 2])
            link.silent = True
            if self.mode == "cut":
                self._reset(link)
        elif self.mode == "delay" or self._late:
            self._late.append((time.monotonic() + self._delay, link, data))
        else:
            link.client.sendall(data)

    def _send_late(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, link, data = self._late.pop(0)
            with suppress(OSError):
                link.client.sendall(data)

    def _reset(self, link: Link) -> None:
        self._links.discard(link)
        for end in (link.client, link.server):
            with suppress(KeyError, ValueError):
                self._selector.unregister(end)
        with suppress(OSError):
            link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        link.client.close()
        link.server.close()
