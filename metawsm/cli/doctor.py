"""`doctor`: what works, what does not, and what to do about it."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.output import print_json, say, terminal_columns
from metawsm.cli.serve import Address
from metawsm.cli.text import one_line, pad

if TYPE_CHECKING:
    from metawsm.daemon.checks.finding import Finding

NARROWEST = 60  # columns below which lines are left to the terminal to break


@click.command()
@click.option("--db", default=".metawsm/metawsm.db", show_default=True, metavar="FILE", help="The database.")
@click.option("--policy", metavar="FILE", help="The policy file. [default: .metawsm/policy.json, if it is there]")
@click.option("--redis", metavar="URL", help="The Redis to look at. [default: the running daemon's, else the policy]")
@click.option(
    "--addr", type=Address(), default="127.0.0.1:3001", show_default=True, help="Where the daemon listens, or is to."
)
@click.option("--server", metavar="URL", help="Ask the daemon at this address. [default: the one of the database]")
@click.option("--deep", is_flag=True, help="Check the whole database, however long it takes.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def doctor(
    db: str,
    policy: str | None,
    redis: str | None,
    addr: tuple[str, int],
    server: str | None,
    deep: bool,
    as_json: bool,
) -> int:
    """Look at everything that the daemon needs, and change nothing.

    Works with and without a running daemon, within 10 seconds unless --deep. Each line is OK, WARN or FAIL, with a
    hint where something is to be done. The exit code is 1 if anything is FAIL.
    """
    from metawsm.daemon.doctor import Wishes, examine, worst

    wishes = Wishes(
        Path(db), Path(policy) if policy else None, redis, addr, server, deep, dict(os.environ), os.getcwd()
    )
    findings = examine(wishes)
    status = worst(findings)
    if as_json:
        checks = [{"name": f.name, "status": f.status, "detail": f.detail, "hint": f.hint} for f in findings]
        print_json({"checks": checks, "status": status})
    else:
        _show(findings)
    return ExitCode.FAILED if status == "FAIL" else ExitCode.DONE


def _show(findings: list[Finding]) -> None:
    """Status, name and detail in columns, the hint below its line, and the count of each status at the end."""
    size = max(len(finding.name) for finding in findings)
    for finding in findings:
        head = f"{pad(finding.status, 4)}  {pad(finding.name, size)}  "
        _line(head, one_line(finding.detail))
        if finding.hint:
            _line(" " * len(head), f"-> {one_line(finding.hint)}")
    counts = Counter(finding.status for finding in findings)
    say(", ".join(f"{counts[status]} {status}" for status in ("FAIL", "WARN", "OK") if counts[status]))


def _line(head: str, text: str) -> None:
    """A text behind its head; on a terminal broken into lines that begin below it."""
    columns = terminal_columns()
    if columns is None or columns < NARROWEST:
        say(f"{head}{text}")
        return
    room = max(columns - len(head), 20)
    for line in textwrap.wrap(text, room, break_on_hyphens=False) or [""]:
        say(f"{head}{line}")
        head = " " * len(head)
