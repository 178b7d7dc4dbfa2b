"""How the artifact starts: find the unpacked packages, make them importable, hand over to the command line.

Native modules cannot be imported from a zip file, so the artifact unpacks itself once into a cache folder named by the
hash of its contents. This module is what every start pays for, so it imports next to nothing; `unpack` is loaded by the
first start only (and `typing` by none: it costs as much as all the rest here).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from fcntl import LOCK_SH, flock


def start(build_id: str) -> None:
    """Run the command line of the artifact in `sys.path[0]`, unpacking it first where that has not been done."""
    sys.path[0] = find(build_id) or _unpacked(sys.path[0], build_id)
    from metawsm.cli.main import main

    main()


def find(build_id: str) -> str | None:
    """The folder of packages of this build if some cache has it complete, and mark it as in use until we end.

    Where a cache is named, only that one is looked into: it is to be used even if another has the build already.
    """
    for root in roots():
        if hold(os.path.join(root, build_id)):
            return os.path.join(root, build_id, "site-packages")
        if os.environ.get("METAWSM_CACHE"):
            break
    return None


def hold(folder: str) -> bool:
    """Take a shared lock on an unpacked folder, so that pruning leaves it alone; False if it is missing or incomplete.

    The descriptor stays open for the life of the process on purpose.
    """
    complete = os.path.join(folder, "complete")
    try:
        descriptor = os.open(complete, os.O_RDONLY)
        flock(descriptor, LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError:
        pass  # a file system without locks: nothing is pruned there either
    return os.path.exists(complete)  # it may have been pruned between opening and locking


def roots() -> Iterator[str]:
    """Folders that may hold unpacked artifacts, the wanted one first.

    `$METAWSM_CACHE`, `$XDG_CACHE_HOME/metawsm`, `~/.cache/metawsm`, and at last one of our own in the temporary folder.
    """
    wish = os.environ.get("METAWSM_CACHE")
    if wish:
        yield os.path.abspath(wish)
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):
        yield os.path.join(xdg, "metawsm")
    home = os.path.expanduser("~")
    if os.path.isabs(home) and os.path.isdir(home):
        yield os.path.join(home, ".cache", "metawsm")
    private = os.path.join(os.environ.get("TMPDIR") or "/tmp", f"metawsm-cache-{os.getuid()}")  # noqa: S108 checked below
    if _is_private(private):
        yield private


def _is_private(folder: str) -> bool:
    """Whether nobody else can have put anything there: it does not exist yet, or it is ours alone."""
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return found.st_mode & 0o170077 == 0o040000 and found.st_uid == os.getuid()


def _unpacked(archive: str, build_id: str) -> str:
    from metawsm_start.unpack import unpack_somewhere

    return unpack_somewhere(archive, build_id)
