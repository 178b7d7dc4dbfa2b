"""The reference of the command line says what the commands are."""

from __future__ import annotations

from pathlib import Path

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.reference import MEANING, reference


def test_the_reference_shows_every_command() -> None:
    """The page in docs is the one that the commands give (scripts/reference writes it)."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
    assert page.read_text() == reference()


def test_every_exit_code_has_a_meaning() -> None:
    """No code is missing in the table."""
    assert set(MEANING) == set(ExitCode)
