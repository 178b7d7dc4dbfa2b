"""The first start of an artifact: unpack it, compile it, and only then let others see it.

Any number of processes may do this at once: they queue on a lock, and the first one's work serves all. The folder gets
its final name when it is complete and on disk, so neither a kill nor a power cut leaves a half one behind.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from py_compile import PycInvalidationMode

from metawsm_start import hold, roots

KEPT_BUILDS = 4
"""So many other builds stay in a cache; older ones are removed, unless a process still runs from them."""


def unpack_somewhere(archive: str, build_id: str) -> str:
    """Unpack `archive` into the first cache that takes it; return its folder of packages.

    Ends the process with one line and status 1 when no cache does.
    """
    refusals = []
    for root in roots():
        try:
            return unpack(archive, root, build_id)
        except OSError as error:
            refusals.append(f"{root} ({error.strerror or error})")
    sys.stderr.write(
        "metawsm.pyz unpacks itself on its first start and found no folder for it: "
        f"{', '.join(refusals)}; name a writable one in METAWSM_CACHE\n"
    )
    sys.exit(1)


def unpack(archive: str, root: str, build_id: str) -> str:
    """Unpack into `root/build_id` if that is not there already; OSError if the folder or the disk does not allow it."""
    os.makedirs(root, mode=0o700, exist_ok=True)
    folder = os.path.join(root, build_id)
    with _alone(root):
        if not hold(folder):
            _make(archive, folder)
            hold(folder)
            _prune(root, keep=build_id)
    return os.path.join(folder, "site-packages")


@contextmanager
def _alone(root: str) -> Iterator[None]:
    """Hold the cache's lock: one process unpacks or prunes at a time."""
    descriptor = os.open(os.path.join(root, ".metawsm-lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(archive: str, folder: str) -> None:
    """Build the complete folder beside its place, force it to disk, and rename it there."""
    scratch = os.path.join(os.path.dirname(folder), ".metawsm-new")
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    if sys.stderr.isatty():
        print("metawsm: unpacking for the first start ...", file=sys.stderr)
    try:
        _extract(archive, scratch)
        _compile(os.path.join(scratch, "site-packages"))
        with open(os.path.join(scratch, "complete"), "w", encoding="ascii"):
            pass
        os.sync()
        os.rename(scratch, folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _extract(archive: str, target: str) -> None:
    """Write the packages of the archive below `target`, each with the mode it has there (the server is executable)."""
    os.makedirs(target, mode=0o700)
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            if entry.filename.startswith("site-packages/"):
                path = os.path.join(target, entry.filename)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb", opener=_opener(entry.external_attr >> 16 & 0o777)) as file:
                    file.write(packed.read(entry))


def _opener(mode: int) -> Callable[[str, int], int]:
    """For `open`: create the file with this mode (the umask still takes its share)."""
    return lambda path, flags: os.open(path, flags, mode)


def _compile(packages: str) -> None:
    """Compile all once, in a form that is believed without a look at the source's time stamp.

    So a cache that was copied, or is read-only later, starts as quickly as before.
    """
    compileall.compile_dir(packages, quiet=2, workers=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


def _prune(root: str, keep: str) -> None:
    """Remove the oldest other builds that no process runs from; failures leave them for the next time.

    Whatever else lives in the folder (somebody may have named his home) is not ours to touch.
    """
    builds = [entry for entry in os.scandir(root) if _is_build(entry) and entry.name != keep]
    builds.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in builds[KEPT_BUILDS:]:
        if _retire(entry.path):
            shutil.rmtree(entry.path, ignore_errors=True)


def _is_build(entry: os.DirEntry[str]) -> bool:
    named_so = len(entry.name) == 32 and set(entry.name) <= set("0123456789abcdef")
    return named_so and os.path.isdir(os.path.join(entry.path, "site-packages"))


def _retire(folder: str) -> bool:
    """Mark a build as incomplete, so that nobody starts from it any more; False if some process runs from it."""
    complete = os.path.join(folder, "complete")
    try:
        descriptor = os.open(complete, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
        os.unlink(complete)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
