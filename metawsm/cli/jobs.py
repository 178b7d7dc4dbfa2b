"""`jobs`: what the daemon does outside of itself."""

from __future__ import annotations

import click

from metawsm.cli.forum_reads import reading
from metawsm.cli.output import print_json, say
from metawsm.cli.session import Session


@click.group()
def jobs() -> None:
    """Let jobs begin that a restored backup holds back.

    \b
    metawsm.pyz jobs release
    """


@jobs.command()
@reading()
def release(session: Session) -> None:
    """Let the jobs begin that are held since a backup was restored.

    After a restore, what an old plan would do outside (sessions, worktrees, merges) waits until somebody has looked.
    """
    answer = session.client.call("POST", "/jobs/release", body={})[1]
    if session.as_json:
        print_json(answer)
        return
    count = answer["released"]
    say(f"{count} job{'' if count == 1 else 's'} released")
