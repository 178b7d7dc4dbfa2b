"""The page about the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

from metawsm.cli.main import root
from scripts.reference_pages.markdown import table

HEAD = """\
# Command line

`metawsm.pyz COMMAND [OPTIONS]`; `-h` or `--help` after any command shows its options. Every verb of `forum` has `--json`: the
daemon's answer on stdout, everything else on stderr. Each write carries an idempotency key of its own, so that a connection
lost in mid-answer is tried again safely. The token of the daemon is found in `METAWSM_TOKEN`, in the file that
`METAWSM_TOKEN_FILE` names, or in `.metawsm/token` of the working directory or one above it. Exit codes:
[errors.md](errors.md#exit-codes-of-the-command-line).

This page is generated: run `scripts/reference` after a change.
"""


def cli() -> str:
    """The page as Markdown."""
    with click.Context(root, info_name="metawsm.pyz") as context:
        return "\n".join([HEAD, *(_command(path, command, inner) for path, command, inner in _commands(root, context))])


def _commands(group: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            with click.Context(command, info_name=name, parent=context) as inner:
                yield inner.command_path, command, inner
                yield from _commands(command, inner)


def _command(path: str, command: click.Command, context: click.Context) -> str:
    about, _, example = (command.help or "").partition("\b\n")
    parts = [f"## {path}\n", " ".join(about.split()) + "\n"]
    if example.strip():
        parts.append(f"```sh\n{example.strip()}\n```\n")
    rows = [_row(parameter, context) for parameter in command.get_params(context) if parameter.name != "help"]
    if rows and not isinstance(command, click.Group):
        parts.append(table(("option", "meaning", "variable"), rows) + "\n")
    return "\n".join(parts)


def _row(parameter: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    required = " *" if parameter.required else ""
    variable = f"`{parameter.envvar}`" if isinstance(parameter.envvar, str) else ""
    if not isinstance(parameter, click.Option):
        return f"`{parameter.human_readable_name}`{required}", "arguments", variable
    name = ", ".join(f"`{option}`" for option in parameter.opts)
    return f"{name}{required}", _about(parameter, context), variable


def _about(option: click.Option, context: click.Context) -> str:
    default = option.get_default(context)
    shown = option.show_default and default not in (None, "", ())
    return (option.help or "") + (f" [default: {default}]" if shown else "")
