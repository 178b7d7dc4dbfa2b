"""Which program may be given text: the one that the agent's profile names, and no shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from metawsm.effects.agent_program import takes_text


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with an agent's script for each of three interpreters."""
    for name, head in {"one": "#!/usr/bin/env python3", "two": "#!/opt/node --flag", "three": "#!/bin/bash -e"}.items():
        script = tmp_path / name
        script.write_text(f"{head}\n")
        script.chmod(0o755)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("command", "front"),
    [
        ("claude --continue", "claude"),
        ("exec '/opt/my agents/claude' -x", "claude"),
        ("A=1 exec env B='2 3' claude", "claude"),
        ("one --fast", "python3"),
        ("two", "node"),
        ("two", "two"),
    ],
)
def test_the_named_program_takes_text(path: str, command: str, front: str) -> None:
    """By its own name, or by that of the interpreter of its script."""
    assert takes_text(front, command, path)


@pytest.mark.parametrize(
    ("command", "front"),
    [
        ("claude", "bash"),  # it has ended, or begun a shell
        ("claude", "vim"),
        ("claude", "python3"),
        ("claude", ""),
        ("three", "bash"),
        ("bash", "bash"),
        ("exec script -q /dev/null", "script"),
        ("ssh other", "ssh"),
        ("sudo -u x claude", "sudo"),
        ("sudo -u x claude", "claude"),
        ("cd x && claude", "claude"),
        ("claude 'unclosed", "claude"),
        ("", ""),
        ("A=1", "A=1"),
    ],
)
def test_no_other_program_takes_text(path: str, command: str, front: str) -> None:
    """A shell never; and where it is not sure that the program is the one that was named, neither."""
    assert not takes_text(front, command, path)
