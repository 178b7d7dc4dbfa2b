"""`import`: take over a database of the Go program."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from metawsm.cli.output import Column, key, note, print_json, say, table
from metawsm.cli.text import one_line

_COLUMNS = (
    Column("TABLE", key("table")),
    Column("BEFORE", key("before")),
    Column("AFTER", lambda row: "" if row.get("after") is None else row["after"]),
    Column("LEFT OUT", lambda row: row.get("left_out") or ""),
    Column("WHAT BECAME OF IT", key("about"), flexible=True),
)


@click.command("import")
@click.option("--db", default=".metawsm/metawsm.db", show_default=True, metavar="FILE", help="The database.")
@click.option("--from", "source", metavar="FILE", help="The Go program's database. [default: the database itself]")
@click.option("--dry-run", is_flag=True, help="Show what would be carried; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def import_(db: str, source: str | None, dry_run: bool, as_json: bool) -> None:
    """Take over a database of the Go program.

    Stop its daemon first. A copy is made before anything else, and stays. Threads, posts, events, control threads and
    what people have read are carried; what cannot be is listed. Interrupted at any point, the same command goes on.

    \b
    metawsm.pyz import --dry-run
    metawsm.pyz import
    """
    from metawsm.storage.go_import import take_over

    told = take_over(Path(source or db), Path(db), dry_run=dry_run, progress=_show_progress)
    if as_json:
        print_json({"import": told})
    else:
        _print(told)


def _show_progress(name: str, done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total or done % 10_000 == 0:
        note(f"{name}: {done} of {total}")


def _print(told: Mapping[str, Any]) -> None:
    if told.get("already"):
        note(f"this database was imported at {told['finished_at']}; nothing was done now")
    table(_COLUMNS, [row for row in told["tables"] if row["before"]], "the database has no rows")
    for kind, count in told["notes"].items():
        say(f"{kind}: {count}")
        for each in told["first_notes"]:
            if each["kind"] == kind:
                many = f" ({each['count']} rows)" if each["count"] > 1 else ""
                say("  " + one_line(f"{each['place']} {each['row']}: {each['text']}{many}"))
    _print_next(told)


def _print_next(told: Mapping[str, Any]) -> None:
    if told["dry_run"]:
        say("nothing was changed; without --dry-run the import is done")
        return
    say(f"backup: {told['backup']}")
    say(f"report: {told['report']} (every row that is not as it was)")
    if told["notes"].get("not applied"):
        say("commands that the Go program never applied are not applied here either: look at them, and ask again")
    say(f"{told['waiting_threads']} threads wait for an answer")
    say("in the Redis of the Go program, serve passes over its commands, and empties its feed and event streams")
    say("to leave them as they are, name an empty database number: serve --redis redis://127.0.0.1:6379/1")
    say(f"next: metawsm.pyz serve --db {told['database']}")
