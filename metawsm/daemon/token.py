"""The token file: written once, 0600, one line."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from metawsm.domain.errors import Refused, Unavailable


def read_or_create(path: Path) -> str:
    """The token in `path`, made now if there is none.

    Raises Refused when it is no file, empty or open to others, Unavailable when it cannot be read or made.
    """
    try:
        return _create(path)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise Unavailable(f"token {path} cannot be made: {error.strerror}; check its folder and its disk") from None


def _create(path: Path) -> str:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    return token


def _read(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path} is not a regular file: remove it, the next start makes a new token")
        mode = status.st_mode & 0o777
        if mode & 0o077:
            raise Refused(
                f"{path} can be read by others (mode {mode:o}): chmod 600 it, or delete it to get a new token"
            )
        lines = path.read_text(encoding="utf-8", errors="replace").split()
    except OSError as error:
        raise Unavailable(f"token {path} cannot be read: {error.strerror}; chmod 600 it, run as its owner") from None
    if len(lines) != 1 or not lines[0].isascii():
        raise Refused(f"{path} must hold one line, the token: delete it to get a new one")
    return lines[0]
