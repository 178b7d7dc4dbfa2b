"""What `serve` was asked to do."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from metawsm.policy import Loaded


@frozen
class Options:
    """Address, database, policy and the patience at the end. Times in seconds."""

    address: tuple[str, int]
    database: Path
    loaded: Loaded
    shutdown_timeout: float

    @property
    def folder(self) -> Path:
        """The folder that holds database, token and the bundled Redis's data."""
        return self.database.resolve().parent
