"""The endpoints of backups: make one while serving, and list them."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import frozen

from metawsm.api.exchange import Answer, Request
from metawsm.domain.errors import InvalidFields


class BackupPort(Protocol):
    """Backups as the daemon makes them."""

    def create(self) -> dict[str, Any]:
        """Make one now and describe it. Raises Unavailable."""
        ...

    def list(self) -> list[dict[str, Any]]:
        """Those that are kept, newest first."""
        ...


@frozen
class BackupEndpoints:
    """What answers at `/backups`. The folder is the policy's: no request can choose a file."""

    backups: BackupPort

    def create(self, request: Request) -> Answer:
        """POST /backups."""
        request.only()
        if unknown := request.json_object():
            raise InvalidFields(
                f"faulty field(s): {', '.join(unknown)}", fields={name: ["is not known"] for name in unknown}
            )
        return Answer(201, {"backup": self.backups.create()})

    def list(self, request: Request) -> Answer:
        """GET /backups."""
        request.only()
        return Answer(200, {"backups": self.backups.list()})
