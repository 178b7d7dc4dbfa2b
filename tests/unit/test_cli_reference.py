"""The reference of the command line says what the commands are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.main import root
from metawsm.cli.reference import MEANING, reference
from tests.support.shell import shell


def test_the_reference_shows_every_command() -> None:
    """The page in docs is the one that the commands give (scripts/reference writes it)."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
    assert page.read_text() == reference()


def test_every_exit_code_has_a_meaning() -> None:
    """No code is missing in the table."""
    assert set(MEANING) == set(ExitCode)


def test_every_command_has_json() -> None:
    """Only `serve` has no answer to print: its output is its log."""
    without = [path for path, command in _commands(root, ()) if not _has(command, "--json")]
    assert without == [("serve",)]


def test_lists_of_commands_are_whole() -> None:
    """No sentence about a command is cut off, also on a narrow terminal; what repeats says so."""
    for page in (["--help"], ["forum", "--help"], ["backup", "--help"], ["forum", "dead-letters", "--help"]):
        shown = shell(page, COLUMNS="80").stdout
        assert [line for line in shown.splitlines()[1:] if line.endswith("...")] == [], page
    assert "May be repeated" in shell(["restart", "--help"]).stdout
    assert "may be repeated" in shell(["forum", "ask", "--help"]).stdout


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _commands(found, (*path, name))


def _has(command: click.Command, option: str) -> bool:
    return any(option in parameter.opts for parameter in command.params)
