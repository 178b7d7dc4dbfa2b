"""A TCP proxy between clients and a daemon that cuts each connection at a random byte of the answer."""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends a reset


class CuttingProxy:
    """Forwards to a port of 127.0.0.1; `cuts` counts the connections that it has ended.

    `longest` is the most bytes of an answer that one connection lets through; `whole` lets everything through.
    """

    def __init__(self, target: int, seed: int, longest: int = 20_000) -> None:
        self.cuts = 0
        self.whole = False
        self._target = target
        self._longest = longest
        self._dice = random.Random(seed)
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    @contextmanager
    def running(self) -> Iterator[CuttingProxy]:
        """Serve inside the block."""
        loop = threading.Thread(target=self._accept)
        loop.start()
        try:
            yield self
        finally:
            self._over.set()
            loop.join()
            self._listener.close()

    def _accept(self) -> None:
        links: list[threading.Thread] = []
        while not self._over.is_set():
            if select.select([self._listener], [], [], 0.05)[0]:
                client, _ = self._listener.accept()
                allowed = int(self._longest * self._dice.random() ** 3)  # mostly short, now and then long
                links.append(threading.Thread(target=self._link, args=(client, allowed)))
                links[-1].start()
        for link in links:
            link.join()

    def _link(self, client: socket.socket, allowed: int) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target), 5) as server:
            if self._forward(client, server, allowed):
                self.cuts += 1
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _forward(self, client: socket.socket, server: socket.socket, allowed: int) -> bool:
        """Pass bytes on until one end goes (False) or the answer has had its share (True)."""
        while not self._over.is_set():
            ready, _, _ = select.select([client, server], [], [], 0.05)
            for end in ready:
                data = end.recv(65536)
                if not data:
                    return False
                if end is client:
                    server.sendall(data)
                    continue
                client.sendall(data if self.whole else data[:allowed])
                allowed -= len(data)
                if allowed <= 0 and not self.whole:
                    return True
        return False
