"""The intake of a bootstrap run: its brief, from flags, or asked on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import click

from metawsm.cli.output import note
from metawsm.cli.stdin import read_stdin
from metawsm.domain.run_brief import QUESTIONS

UNASKED = {"merge_intent": "default"}
"""Fields that are not asked for, and what they hold where nothing is said."""


def intake(given: Mapping[str, str | None], before: Callable[[], None]) -> dict[str, str]:
    """The brief's fields: as given (`-` is standard input), else as answered on the terminal.

    `before` is called before somebody is asked, and may raise.

    Raises click.UsageError naming every missing flag where there is no terminal, or the answers end too early.
    """
    brief = {name: text for name, text in _read(given).items() if text.strip()}
    brief = UNASKED | brief
    missing = [(name, heading, question) for name, heading, question in QUESTIONS if name not in brief]
    if missing and (not sys.stdin.isatty() or "-" in given.values()):
        flags = ", ".join(_flag(name) for name, _, _ in missing)
        raise click.UsageError(f"the brief of a bootstrap run is incomplete: give {flags}, or answer on a terminal")
    if missing:
        before()
    for name, heading, question in missing:
        brief[name] = _asked(heading, question)
    return brief


def _read(given: Mapping[str, str | None]) -> dict[str, str]:
    from_stdin = [name for name, text in given.items() if text == "-"]
    if len(from_stdin) > 1:
        raise click.UsageError(f"only one of {', '.join(map(_flag, from_stdin))} can be read from standard input")
    return {name: read_stdin(_flag(name)) if text == "-" else text or "" for name, text in given.items()}


def _asked(heading: str, question: str) -> str:
    """An answer of one line; a blank one is asked for again."""
    note(f"{heading}: {question}")
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        line = sys.stdin.buffer.readline()
        if not line:
            raise click.UsageError(f"incomplete intake: no answer for {heading}; nothing was begun")
        try:
            if answer := line.decode().strip():
                return answer
            note("an answer is needed (Ctrl-C gives up)")
        except UnicodeDecodeError:
            note("that is not UTF-8; once more (Ctrl-C gives up)")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
