"""The floor: the least that a durable answer over this HTTP stack costs. A program of its own: floor.py PATH.

Stock gevent.pywsgi and bottle, TCP_NODELAY set on accept, no log. One endpoint stores its body as one row with
synchronous=FULL; rows that arrive during a commit share the next one. Prints its port when it listens.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - everything else is loaded after patching
import socket  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import apsw  # noqa: E402
import bottle  # noqa: E402
import gevent  # noqa: E402
from gevent.event import AsyncResult  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402


class Server(WSGIServer):  # type: ignore[misc]
    """Sends what it has at once."""

    def do_handle(self, *args: Any) -> None:
        """Handle one connection."""
        args[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().do_handle(*args)


class Rows:
    """Group commit without a delay, on the hub."""

    def __init__(self, path: str) -> None:
        self._db = apsw.Connection(path)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)")
        self._waiting: list[tuple[str, AsyncResult]] = []

    def insert(self, body: str) -> int:
        """Wait until the body is on disk; its id."""
        result = AsyncResult()
        if not self._waiting:
            gevent.get_hub().loop.run_callback(self._commit)
        self._waiting.append((body, result))
        return int(result.get())

    def _commit(self) -> None:
        rows, self._waiting = self._waiting, []
        self._db.execute("BEGIN IMMEDIATE")
        ids = []
        for body, _ in rows:
            self._db.execute("INSERT INTO rows (body) VALUES (?)", (body,))
            ids.append(self._db.last_insert_rowid())
        self._db.execute("COMMIT")
        for (_, result), row_id in zip(rows, ids, strict=True):
            result.set(row_id)


def application(rows: Rows) -> bottle.Bottle:
    """The endpoint."""
    app = bottle.Bottle()

    @app.post("/api/v1/forum/threads")  # type: ignore[untyped-decorator]
    def store() -> dict[str, int]:
        body = bottle.request.json
        bottle.response.status = 201
        return {"id": rows.insert(json.dumps(body))}

    return app


def main() -> None:
    """Serve until killed."""
    server = Server(("127.0.0.1", 0), application(Rows(sys.argv[1])), log=None)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
