"""The token file: written once, 0600, one line."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from metawsm.domain.errors import Refused


def read_or_create(path: Path) -> str:
    """The token in `path`, made now if there is none. Raises Refused when the file is empty or open to others."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    with os.fdopen(handle, "w") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    return token


def _read(path: Path) -> str:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise Refused(f"{path} can be read by others (mode {mode:o}): chmod 600 it, or delete it to get a new token")
    lines = path.read_text().split()
    if len(lines) != 1:
        raise Refused(f"{path} must hold one line, the token: delete it to get a new one")
    return lines[0]
