"""`backup`: make backups of the database, check them, put one in its place."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metawsm.cli.lazy import Group
from metawsm.cli.output import Column, age, key, note, print_json, say, table
from metawsm.cli.text import one_line
from metawsm.domain.errors import NotFound, Refused

if TYPE_CHECKING:
    from metawsm.policy.sections import Policy

LONGEST_SECONDS = 3600.0  # that the daemon may take for a backup
Verb = Callable[..., Any]


@click.group(cls=Group)
def backup() -> None:
    """Back up the database, while the daemon serves or without one; check a backup; restore one.

    \b
    metawsm.pyz backup create
    metawsm.pyz backup list
    metawsm.pyz backup verify metawsm-....db
    metawsm.pyz backup restore metawsm-....db
    """


def _placed(verb: Verb) -> Verb:
    """Give a verb the options that say which database, and hand it `database`, `folder`, `policy`, `as_json`."""

    @functools.wraps(verb)
    def run(db: str, policy: str | None, as_json: bool, **values: Any) -> Any:
        from metawsm.policy import load

        loaded = load(Path(policy) if policy else None, os.environ, {}).policy
        database = Path(db)
        folder = database.resolve().parent / loaded.backup.folder
        return verb(database=database, folder=folder, policy=loaded, as_json=as_json, **values)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--policy", metavar="FILE", help="The policy file. [default: .metawsm/policy.json, if any]"),
        click.option("--db", default=".metawsm/metawsm.db", show_default=True, metavar="FILE", help="The database."),
    ):
        run = option(run)
    return run


@backup.command()
@_placed
def create(database: Path, folder: Path, policy: Policy, as_json: bool) -> None:
    """Make a backup, through the daemon if one has the database open.

    It is one file, compact and checked, which can be copied elsewhere; the newest are kept (policy backup.keep).
    """
    made = _made(database, folder, policy.backup.keep)
    if as_json:
        print_json({"backup": made})
        return
    say(one_line(made["file"]))
    note(one_line(_told(made)))
    for path in made.get("deleted", ()):
        note(one_line(f"deleted, as {policy.backup.keep} are kept: {path}"))


@backup.command("list")
@_placed
def list_backups(database: Path, folder: Path, policy: Policy, as_json: bool) -> None:
    """List the backups that are kept, the newest first."""
    from metawsm.storage.backup_files import backups_in
    from metawsm.storage.examine import owner_of

    found = [each.as_json() for each in backups_in(folder, owner_of(database))]
    if as_json:
        print_json({"backups": found})
        return
    columns = [
        Column("FILE", lambda row: Path(str(row["file"])).name),
        Column("AGE", lambda row: age(row["created_at"])),
        Column("KIND", key("kind")),
        Column("SIZE", lambda row: _size(int(row["bytes"]))),
        Column("EPOCH", key("epoch"), drop=2),
        Column("HEAD", key("head_sequence"), drop=1),
    ]
    if found:
        note(one_line(f"in {folder}"))
    table(columns, found, f"there are no backups in {folder}; make one with `metawsm.pyz backup create`")


@backup.command()
@click.argument("file", metavar="FILE")
@_placed
def verify(file: str, database: Path, folder: Path, policy: Policy, as_json: bool) -> None:
    """Check a backup from its first to its last byte, and tell what it holds. Changes nothing.

    FILE is a path, or the name of one of the backups that are kept.
    """
    from metawsm.storage.backup_files import digest_in
    from metawsm.storage.examine import examine

    path = _found(file, folder)
    checksum = "ok" if digest_in(path) else "none"
    told: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size if path.is_file() else 0,
        "checksum": checksum,
    }
    told |= examine(path).as_json()
    if as_json:
        print_json({"backup": told})
        return
    say(one_line(f"{path} is whole"))
    for name in ("schema_version", "database_id", "epoch", "head_sequence"):
        say(f"{name:18} {one_line(told[name])}")
    for name, count in told["counts"].items():
        say(f"{name:18} {count}")
    if checksum == "none":
        note("it has no checksum in its name, so only its structure could be checked")


@backup.command()
@click.argument("file", metavar="FILE")
@click.option("--other-database", is_flag=True, help="Allow a backup of another database to replace this one.")
@_placed
def restore(file: str, other_database: bool, database: Path, folder: Path, policy: Policy, as_json: bool) -> None:
    """Put a backup in the place of the database. The daemon must be stopped.

    FILE is a path, or the name of one of the backups that are kept.

    What was there is kept as a backup. A new epoch begins: commands that were not done in the backup run when the
    daemon starts, and what Redis still holds of the time after the backup is not applied.
    """
    from metawsm.storage.lock import acquire
    from metawsm.storage.restore import restore as put_in_place

    path = _existing(_found(file, folder), "see `metawsm.pyz backup list`")
    lock = acquire(database, _holder("metawsm.pyz backup restore"))
    try:
        done = put_in_place(path, database, folder, other_database=other_database).as_json()
    finally:
        lock.release()
    if as_json:
        print_json({"restored": done})
        return
    say(one_line(done["database"]))
    note(one_line(f"restored from {done['file']}: {_told(done)}"))
    if "replaced" in done:
        note(one_line(f"what was there is kept as {done['replaced']}"))
    note("start the daemon with `metawsm.pyz serve`")


def _made(database: Path, folder: Path, keep: int) -> dict[str, Any]:
    """Make it here, under the lock of the database, or let the daemon that has it do so."""
    from metawsm.storage.backup import create as make
    from metawsm.storage.lock import acquire, holder_of

    _existing(database, "name it with --db")
    try:
        lock = acquire(database, _holder("metawsm.pyz backup create"))
    except Refused:
        holder = holder_of(database)
        if holder is None or not _is_listening(holder.addr):
            raise
        return _asked(holder.addr, database)
    try:
        return make(database, folder, keep).as_json()
    finally:
        lock.release()


def _is_listening(addr: str) -> bool:
    """Whether the holder of a lock is a daemon with a port; another command holds it, too, and a daemon that starts."""
    port = addr.rpartition(":")[2]
    return port.isdigit() and int(port) > 0


def _asked(addr: str, database: Path) -> dict[str, Any]:
    """Let the daemon at an address do it, with the token that it keeps beside its database."""
    from metawsm.client.http import Client
    from metawsm.client.token import find_token

    host, _, port = addr.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    beside = {"METAWSM_TOKEN_FILE": str(database.resolve().parent / "token")}
    client = Client(f"http://{host}:{port}", find_token(beside, os.getcwd()).token, timeout=LONGEST_SECONDS)
    made: dict[str, Any] = client.call("POST", "/backups", body={})[1]["backup"]
    return made


def _holder(who: str) -> Any:
    from metawsm.storage.lock import Holder

    return Holder(os.getpid(), who, datetime.now(UTC).isoformat())


def _found(file: str, folder: Path) -> Path:
    """A file as it is named, or of that name among the backups."""
    path = Path(file)
    return folder / file if not path.exists() and path.name == file else path


def _existing(path: Path, advice: str) -> Path:
    """Asked before the lock is taken, which would make the folder and a file in it."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}; {advice}")
    return path


def _told(facts: Mapping[str, Any]) -> str:
    counts = facts.get("counts", {})
    held = ", ".join(f"{counts.get(name, 0)} {name.replace('_', ' ')}" for name in ("threads", "posts", "events"))
    return f"{held}; {counts.get('undone_commands', 0)} commands to be done; epoch {facts.get('epoch')}"


def _size(count: int) -> str:
    """Bytes in a unit that people read."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.1f} GB"
