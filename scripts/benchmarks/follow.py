"""Subscribers of the WebSocket stream, all in one process. A program of its own: follow.py PORT SUBSCRIBERS.

Prints `ready` when all have been greeted. At the end of its standard input it prints `{sequence: [arrival, ...]}`:
when (Unix time) the event's frame was read from each subscriber's socket.
"""

from __future__ import annotations

import base64
import json
import os
import re
import selectors
import socket
import sys
import time
from typing import Any

EVENT = re.compile(rb'\{"sequence":(\d+),"envelope"')
OVERLAP = 64  # bytes kept of what came before: a number may be cut in two


def connect(port: int) -> socket.socket:
    """An upgraded connection."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /api/v1/forum/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    seen = b""
    while b'"hello"' not in seen:
        data = sock.recv(65_536)
        if not data:
            raise SystemExit(f"no stream: {seen[:200]!r}")
        seen += data
    return sock


def main() -> None:
    """Connect, follow, tell."""
    port, subscribers = int(sys.argv[1]), int(sys.argv[2])
    selector = selectors.DefaultSelector()
    for _ in range(subscribers):
        selector.register(connect(port), selectors.EVENT_READ, [b"", 0])
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    print("ready", flush=True)
    arrivals: dict[int, list[float]] = {}
    while not any(_ended(key, arrivals) for key, _ in selector.select()):
        pass
    json.dump(arrivals, sys.stdout)


def _ended(key: Any, arrivals: dict[int, list[float]]) -> bool:
    if key.data is None:
        return True
    data = key.fileobj.recv(262_144)
    now = time.time()
    before, last = key.data
    for found in EVENT.findall(before + data):
        if int(found) > last:
            last = int(found)
            arrivals.setdefault(last, []).append(now)
    key.data[:] = data[-OVERLAP:], last
    return not data


if __name__ == "__main__":
    main()
