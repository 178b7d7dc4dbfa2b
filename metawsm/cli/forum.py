"""The group `forum`: which verbs there are, and where they live."""

from __future__ import annotations

import click

from metawsm.cli.lazy import LazyGroup
from metawsm.cli.session import server_option

READS = "metawsm.cli.forum_reads"
OPS = "metawsm.cli.forum_operations"


class Forum(LazyGroup):
    """The verbs of the forum: the writes follow from the specs of the commands, the rest stands here."""

    where = {
        "list": f"{READS}:list_threads",
        "thread": f"{READS}:thread",
        "search": f"{READS}:search",
        "queue": f"{READS}:queue",
        "stats": f"{READS}:stats",
        "watch": "metawsm.cli.forum_watch:watch",
        "wait": "metawsm.cli.forum_wait:wait",
        "inbox": "metawsm.cli.forum_inbox:inbox",
        "command": f"{OPS}:command",
        "debug": f"{OPS}:debug",
        "rebuild": f"{OPS}:rebuild",
        "dead-letters": "metawsm.cli.dead_letters:dead_letters",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The writes in the order of the commands, then the others."""
        from metawsm.cli.forum_writes import verbs

        return [*verbs(), *self.where]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb; the specs are read only when it is none of those above."""
        if cmd_name in self.where:
            return super().get_command(ctx, cmd_name)
        from metawsm.cli.forum_writes import write_verb

        return write_verb(cmd_name)


@click.command(cls=Forum)
@server_option(envvar="METAWSM_SERVER", show_envvar=True)
@click.pass_context
def forum(ctx: click.Context, server: str | None) -> None:
    """Ask, answer and follow questions.

    \b
    metawsm.pyz forum ask --ticket MET-1 --title "Which schema?" --body "v1 or v2?"
    metawsm.pyz forum list --state new
    metawsm.pyz forum answer fthr-... --body "v2"
    """
    ctx.obj = server
