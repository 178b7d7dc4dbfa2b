"""Reading a file that an agent may have replaced: by a pipe, on which a read waits for ever, by a device, by a link to
somewhere else, by a file that no memory holds.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from metawsm.domain.errors import Obstructed

MOST_BYTES = 1 << 20
"""More has no page, pointer or status file that people or this program wrote."""

_NO_FILE = {errno.ELOOP, errno.ENXIO}
"""How the system says that it is a link, or a socket."""


def opened(file: Path) -> BinaryIO:
    """Open a regular file; what else stands there is not waited for. Raises Obstructed, and OSError as `open` does."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise _obstructed(file) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _obstructed(file)
    return os.fdopen(handle, "rb")


def read(file: Path) -> str:
    """The text of a regular file of at most MOST_BYTES; what is no UTF-8 in it is shown as such. Raises as `opened`."""
    with opened(file) as source:
        data = source.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise _obstructed(file)
    return data.decode("utf-8", "replace")


def _obstructed(file: Path) -> Obstructed:
    return Obstructed(f"{file} is no file of at most 1 MiB: look at what stands there, and move it away.")
