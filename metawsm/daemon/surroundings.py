"""The outside of this daemon as jobs see it: which programs, which folders, which server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, frozen

from metawsm.bus.ports import Db
from metawsm.domain.errors import NotFound
from metawsm.domain.run import Run
from metawsm.storage.run_rows import find_run

Query = Callable[[Callable[[Db], Any]], Any]
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address that was asked for


@define
class Place:
    """Where this daemon is reached; known once it listens."""

    server: str = ""


@frozen
class Lookups:
    """What jobs look up in the database."""

    query: Query

    def run(self, run_id: str) -> Run:
        """The run. Raises NotFound."""
        found: Run | None = self.query(lambda db: find_run(db, run_id))
        if found is None:
            raise NotFound(f"there is no run {run_id}")
        return found


def url_of(address: tuple[str, int]) -> str:
    """Where programs on this machine reach the daemon."""
    host, port = EVERYWHERE.get(address[0], address[0]), address[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
