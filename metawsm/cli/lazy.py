"""Groups of commands: in their own order; and those whose commands are loaded when they are used, for a quick start."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

UNCUT = 1000
"""Characters of a command's help in a list: its whole first sentence, which is folded where it is too long."""


class Group(click.Group):
    """A group whose help has its commands in the order of their definition, with whole sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in their order."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, with whole sentences."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(UNCUT)) for name, command in found if command])


class LazyGroup(Group):
    """A group of commands named `name: "module:attribute"`."""

    where: Mapping[str, str] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of the table."""
        return list(self.where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command, or None when there is none of this name."""
        place = self.where.get(cmd_name)
        if place is None:
            return None
        module, _colon, attribute = place.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the near names when there is no such command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # slow to load and seldom needed

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f"there is no command '{args[0]}'; {hint}", error.ctx) from None
