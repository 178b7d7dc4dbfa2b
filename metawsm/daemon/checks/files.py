"""What lies on the disk: permissions, space, the kind of file system, and who holds the lock."""

from __future__ import annotations

import os
import re
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from metawsm.daemon.checks.finding import Case, Finding, fail, ok, warn
from metawsm.domain.errors import Unavailable
from metawsm.storage.inspection import is_held

MAY_NOT = "run as the user who runs the daemon, or mend the mode of the folder"
LITTLE, TOO_LITTLE = 1 << 30, 100 << 20  # bytes free
LOG_BYTES = 64 << 20  # that the write-ahead log may need
# fmt: off
NETWORK = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.davfs2", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
})
# fmt: on
FLEETING = frozenset({"tmpfs", "ramfs", "devtmpfs", "overlay"})
MOUNTS = Path("/proc/self/mountinfo")


def files(case: Case) -> Iterator[Finding]:
    """The folder and what is in it."""
    yield _looked("files.folder", lambda: _folder(case.folder))
    yield _looked("files.token", lambda: _token(case.folder / "token", case.served))
    yield _looked("files.database", lambda: _database(case.database))
    yield from _space(case.database)
    yield _file_system(case.folder)
    yield _lock(case)


def _looked(name: str, look: Callable[[], Finding]) -> Finding:
    """What a look finds, or that this user may not look: the others are worth telling all the same."""
    try:
        return look()
    except OSError as error:
        return fail(name, f"{error.filename} cannot be looked at: {error.strerror}", MAY_NOT)


def _folder(folder: Path) -> Finding:
    if not folder.exists():
        above = next(path for path in folder.parents if path.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return ok("files.folder", f"{folder} is made at the first start")
        return fail("files.folder", f"{folder} cannot be made in {above}", "choose another folder with --db")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        hint = "run as its owner, or choose another folder with --db"
        return fail("files.folder", f"{folder} (mode {mode:o}) cannot be written by this user", hint)
    if mode & 0o022:
        return fail("files.folder", f"{folder} can be written by others (mode {mode:o})", f"chmod 700 {folder}")
    if mode & 0o055:
        return warn("files.folder", f"{folder} can be entered by others (mode {mode:o})", f"chmod 700 {folder}")
    return ok("files.folder", f"{folder} (mode {mode:o})")


def _token(path: Path, held: bool) -> Finding:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            shown = f"{path} is a folder" if path.is_dir() else f"{path} is not a regular file"
            return fail("files.token", shown, "remove it; the next start makes a new token")
        lines = path.read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        if held:
            return warn("files.token", f"{path} is not there", "restart the daemon to get a new token")
        return ok("files.token", f"{path} is made at the first start")
    except OSError as error:
        return fail("files.token", f"{path} cannot be read: {error.strerror}", _readable(path))
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        hint = f"chmod 600 {path}; the daemon does not start before"
        return fail("files.token", f"{path} can be read by others (mode {mode:o})", hint)
    if len(lines) != 1:
        return fail("files.token", f"{path} does not hold one line", "delete it; the next start makes a new one")
    return ok("files.token", f"{path} (mode {mode:o})")


def _readable(path: Path) -> str:
    """What makes a file readable for this user: its mode if it is theirs, else its owner."""
    try:
        mine = path.stat().st_uid == os.geteuid()
    except OSError:
        return MAY_NOT
    return f"chmod 600 {path}" if mine else "run as the user who runs the daemon"


def _database(database: Path) -> Finding:
    if database.is_dir():
        return fail("files.database", f"{database} is a folder", "name a file with --db")
    present = [path for suffix in ("", "-wal", "-shm") if (path := Path(f"{database}{suffix}")).exists()]
    if not present:
        return ok("files.database", f"{database} is made at the first start")
    locked = [str(path) for path in present if not os.access(path, os.R_OK | os.W_OK)]
    if locked:
        hint = "the owner of the daemon must own them: chown, chmod 600"
        return fail("files.database", f"{', '.join(locked)} cannot be written by this user", hint)
    modes = {str(path): stat.S_IMODE(path.stat().st_mode) for path in present}
    open_files = [f"{name} (mode {mode:o})" for name, mode in modes.items() if mode & 0o077]
    hint = f"chmod 600 {' '.join(modes)}"
    if any(mode & 0o022 for mode in modes.values()):
        return fail("files.database", f"others can write {', '.join(open_files)}", hint)
    if open_files:
        return warn("files.database", f"others can read {', '.join(open_files)}", hint)
    return ok("files.database", f"{database}, {size(database.stat().st_size)}")


def _space(database: Path) -> Iterator[Finding]:
    folder = next(path for path in database.resolve().parents if os.path.exists(path))
    free = shutil.disk_usage(folder).free
    shown = f"{size(free)} free at {folder}"
    if free < TOO_LITTLE:
        yield fail("files.disk", shown, "free some space: the write-ahead log could not grow, nothing would be stored")
    elif free < LITTLE:
        yield warn("files.disk", shown, "free some space: below 100 MiB nothing is sure to be stored")
    else:
        yield ok("files.disk", shown)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and limit < _length(database) + LOG_BYTES:
        shown = f"a file may be at most {size(limit)} long"
        yield fail("files.longest", shown, "raise the limit of file sizes (ulimit -f, LimitFSIZE= of a unit)")


def _length(path: Path) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else 0


def size(count: float) -> str:
    """So many bytes, as people say it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"


def _file_system(folder: Path) -> Finding:
    try:
        kind = file_system_of(folder, MOUNTS.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ok("files.system", "this system does not tell; the folder must be on a local disk")
    return judge_file_system(folder, kind)


def judge_file_system(folder: Path, kind: str) -> Finding:
    """Whether a database may lie on a file system of this kind."""
    if kind in NETWORK:
        shown = f"{folder} lies on {kind}: locks and shared memory of a write-ahead log do not work across machines"
        return fail("files.system", shown, "keep the database on a local disk; share it by the daemon's API")
    if kind in FLEETING:
        shown = f"{folder} lies on {kind}: gone with the machine or its container"
        return warn("files.system", shown, "keep the database on a disk that stays, for instance a volume")
    return ok("files.system", f"{folder} lies on {kind}")


def file_system_of(folder: Path, mounts: str) -> str:
    """The kind of file system of a folder, by the text of /proc/self/mountinfo; a later mount hides an earlier one."""
    wanted = folder.resolve()
    best, kind = -1, "unknown"
    for line in mounts.splitlines():
        before, _, behind = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4]))
        if len(point.parts) >= best and wanted.is_relative_to(point):
            best, kind = len(point.parts), behind.split(" ")[0]
    return kind


def _lock(case: Case) -> Finding:
    try:
        held = is_held(case.database)
    except Unavailable as error:
        return warn("files.lock", error.message, "run doctor as the user who runs the daemon")
    if not held:
        return ok("files.lock", "no daemon has the database open")
    if case.holder is None:
        return warn("files.lock", "a process that is not named holds it", "look with lsof or fuser at the lock file")
    shown = f"process {case.holder.pid} at {case.holder.addr} since {case.holder.started_at}"
    state = _state(case.holder.pid)
    if state == "T":
        return fail("files.lock", f"{shown} is stopped", f"let it go on: kill -CONT {case.holder.pid}")
    if state == "":
        return warn("files.lock", f"{shown} is not seen from here", "it runs in another container; look there")
    return ok("files.lock", shown)


def _state(pid: int) -> str:
    """The letter of a process's state; `?` where the system does not tell, empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "?"
    return "?"
