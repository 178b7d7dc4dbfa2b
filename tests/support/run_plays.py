"""Scripts for the server that plays a daemon: answers about runs, in their order."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from tests.support.scripted_server import ScriptedServer, answer

Play = Callable[[ScriptedServer, socket.socket], None]


def told(*bodies: dict[str, Any]) -> Play:
    """Answer the requests of a connection with these bodies, the last one again and again."""

    def play(server: ScriptedServer, sock: socket.socket) -> None:
        for place in range(10_000):
            if not server.read_request(sock):
                return
            sock.sendall(answer(200, json.dumps(bodies[min(place, len(bodies) - 1)]).encode()))

    return play


def runs(*details: dict[str, Any]) -> Play:
    """The run, as it is at each look."""
    return told(*({"run": detail} for detail in details))
