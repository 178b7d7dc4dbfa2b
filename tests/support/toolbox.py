"""The programs of a daemon as a folder that a test rules: some are missing, some are others, and all are put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Toolbox:
    """A folder of links to every program on PATH. As a daemon's only PATH it says what is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for place in reversed(os.environ["PATH"].split(":")):
            for name in os.listdir(place) if os.path.isdir(place) else ():
                self.link(name, Path(place, name))

    @property
    def env(self) -> dict[str, str]:
        """The variables of a process that finds these programs and no others."""
        return {"PATH": str(self.folder)}

    def link(self, name: str, program: Path) -> None:
        """Install a program under a name."""
        with suppress(FileNotFoundError):
            (self.folder / name).unlink()
        (self.folder / name).symlink_to(program)

    def install(self, name: str, script: str) -> None:
        """Install a shell script under a name, at once and for good."""
        draft = self.folder / f".{name}"
        draft.write_text(f"#!/bin/sh\n{script}\n")
        draft.chmod(0o755)
        draft.replace(self.folder / name)

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """Inside the block these programs are not there."""
        aside = self.folder.with_name(f"{self.folder.name}-aside")
        aside.mkdir(exist_ok=True)
        for name in names:
            (self.folder / name).rename(aside / name)
        try:
            yield
        finally:
            for name in names:
                (aside / name).rename(self.folder / name)

    @contextmanager
    def instead(self, name: str, script: str) -> Iterator[None]:
        """Inside the block a script is there instead of the program; `$REAL` in it is the program itself."""
        real = os.path.realpath(self.folder / name)
        with self.without(name):
            self.install(name, script.replace("$REAL", real))
            try:
                yield
            finally:
                (self.folder / name).unlink()
