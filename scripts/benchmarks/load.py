"""The load generator. A program of its own.

Reads one JSON object from standard input: `host, port, requests` (a list of [method, target, headers, body], used in
turn), `clients`, and `seconds` or `count`. Each client sends its next request when it has the answer to the one before,
or, with `rate`, when the next of so many per second is due. Clients are http.client, many of them in greenlets. With
`lean` they are bare sockets in one epoll loop, which costs a fifth: then nearly all that is measured is the server.

Prints `{"seconds", "statuses", "latencies_ms"}`, and with `rate` `answers`: when each request was sent (Unix time) and
its thread's last event sequence.
"""

from __future__ import annotations

import http.client
import itertools
import json
import selectors
import socket
import sys
import time
from collections import Counter
from typing import Any


class Asker:
    """Clients that are http.client connections."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._requests = itertools.cycle([(m, t, h, b.encode() if b else None) for m, t, h, b in job["requests"]])
        self._statuses: Counter[int] = Counter()
        self._latencies: list[float] = []
        self._answers: list[tuple[float, int]] = []
        self._sent = 0
        self._begun = time.perf_counter()

    def run(self) -> dict[str, Any]:
        """Until the time is over or all is sent, and every answer is there."""
        if self._job["clients"] == 1:
            self._one()
        else:
            import gevent

            gevent.joinall([gevent.spawn(self._one) for _ in range(self._job["clients"])], raise_error=True)
        return _told(self._begun, self._statuses, self._latencies) | {"answers": self._answers}

    def _one(self) -> None:
        connection = http.client.HTTPConnection(self._job["host"], self._job["port"], timeout=60)
        while not _over(self._job, self._begun, self._sent):
            self._sent += 1
            self._pace(self._sent)
            sent, moment = time.perf_counter(), time.time()
            connection.request(*self._next())
            answer = connection.getresponse()
            body = answer.read()
            self._latencies.append((time.perf_counter() - sent) * 1000)
            self._statuses[answer.status] += 1
            if "rate" in self._job:
                self._answers.append((moment, json.loads(body)["thread"]["last_event_sequence"]))

    def _pace(self, number: int) -> None:
        if "rate" in self._job:
            time.sleep(max(0.0, self._begun + number / self._job["rate"] - time.perf_counter()))

    def _next(self) -> tuple[str, str, bytes | None, dict[str, str]]:
        method, target, headers, body = next(self._requests)
        return method, target, body, headers


def _over(job: dict[str, Any], begun: float, done: int) -> bool:
    return bool(done >= job.get("count", 1 << 62) or time.perf_counter() - begun > job.get("seconds", 1e9))


def _told(begun: float, statuses: Counter[int], latencies: list[float]) -> dict[str, Any]:
    return {"seconds": time.perf_counter() - begun, "statuses": statuses, "latencies_ms": latencies}


class LeanClients:
    """Bare sockets in one loop."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._wire = itertools.cycle([_wire(job, *request) for request in job["requests"]])
        self._selector = selectors.DefaultSelector()
        self._statuses: Counter[int] = Counter()
        self._latencies: list[float] = []
        self._sent = 0

    def run(self) -> dict[str, Any]:
        """Until the time is over or all is sent, and every answer is there."""
        begun = time.perf_counter()
        for _ in range(self._job["clients"]):
            sock = socket.create_connection((self._job["host"], self._job["port"]))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            key = self._selector.register(sock, selectors.EVENT_READ, [0.0, b""])
            self._send(key)
        while self._selector.get_map():
            for key, _ in self._selector.select(60):
                if self._receive(key):
                    if _over(self._job, begun, self._sent):
                        self._selector.unregister(key.fileobj)
                    else:
                        self._send(key)
        return _told(begun, self._statuses, self._latencies)

    def _send(self, key: Any) -> None:
        self._sent += 1
        key.data[:] = time.perf_counter(), b""
        key.fileobj.sendall(next(self._wire))

    def _receive(self, key: Any) -> bool:
        """Whether the answer is complete."""
        data = key.fileobj.recv(262_144)
        if not data:
            raise SystemExit("the server closed a connection")
        whole = key.data[1] + data
        key.data[1] = whole
        end = whole.find(b"\r\n\r\n")
        if end < 0 or len(whole) < end + 4 + _length(whole, end):
            return False
        self._latencies.append((time.perf_counter() - key.data[0]) * 1000)
        self._statuses[int(whole[9:12])] += 1
        return True


def _length(answer: bytes, end: int) -> int:
    begin = answer[:end].lower().index(b"content-length:") + 15
    return int(answer[begin:end].split(b"\r\n", 1)[0])


def _wire(job: dict[str, Any], method: str, target: str, headers: dict[str, str], body: str | None) -> bytes:
    payload = (body or "").encode()
    lines = {"Host": f"{job['host']}:{job['port']}", **headers, "Content-Length": str(len(payload))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + payload


def main() -> None:
    """Read the job, do it, print what was seen."""
    job = json.load(sys.stdin)
    if job["clients"] > 1 and not job.get("lean"):
        from gevent import monkey

        monkey.patch_all()
    json.dump((LeanClients if job.get("lean") else Asker)(job).run(), sys.stdout)


if __name__ == "__main__":
    main()
