"""Backups while the daemon serves: made in a thread of their own, one after the other."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from metawsm.domain.errors import Overloaded
from metawsm.policy import Policy
from metawsm.storage.backup import create
from metawsm.storage.backup_files import backups_in
from metawsm.storage.examine import owner_of
from metawsm.storage.threads import Threads

MOST = 2  # asked for at once: one is being made, one waits
log = logging.getLogger("metawsm.backup")


def folder_of(policy: Policy, database: Path) -> Path:
    """Where the backups of a database are kept; a relative folder is beside the database."""
    return database.resolve().parent / policy.backup.folder


class Backups:
    """The backups of one database, whose lock this process holds."""

    def __init__(self, policy: Policy, database: Path) -> None:
        self._database = database
        self._folder = folder_of(policy, database)
        self._keep = policy.backup.keep
        self._threads = Threads(1)
        self._asked = 0
        self._closed = False

    def create(self) -> dict[str, Any]:
        """Make a backup of what is committed now; the greenlet waits for its end. Raises Overloaded, Unavailable."""
        if self._asked >= MOST:
            raise Overloaded("a backup is being made and another one waits; try again when they are done")
        self._asked += 1
        try:
            made = self._threads.call(self._create)
        finally:
            self._asked -= 1
        log.info("backup %s", made["file"])
        return made

    def _create(self) -> dict[str, Any]:
        return create(self._database, self._folder, self._keep, is_cancelled=lambda: self._closed).as_json()

    def list(self) -> list[dict[str, Any]]:
        """The backups that are kept, newest first."""
        return [each.as_json() for each in backups_in(self._folder, owner_of(self._database))]

    def before_migration(self, version: int) -> None:
        """Keep the database as it is with the schema of this version; nothing is migrated unless this succeeds."""
        made = create(self._database, self._folder, self._keep, before_version=version)
        log.info("schema version %d is kept in backup %s", version, made.file.path)

    def close(self) -> None:
        """Break off what is being made."""
        self._closed = True
        self._threads.close()
