"""A thread named by an argument or by --thread-id: none and two are refused, before anything is sent."""

from __future__ import annotations

import pytest

from tests.support.shell import shell

NONE = "say which thread: as an argument, or with --thread-id"
QUOTES = "are there quotes missing?"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["thread"], f"{NONE} (see `metawsm.pyz forum thread --help`)"),
        (["close"], f"{NONE} (see `metawsm.pyz forum close --help`)"),
        (["close", "", "--thread-id", "fthr-1"], 'metawsm: "" and --thread-id fthr-1 name two threads'),
        (["wait", "fthr-1", "--thread-id", "fthr-2"], '"fthr-1" and --thread-id fthr-2 name two threads'),
        (
            ["close", "--reason", "is", "done", "--thread-id", "fthr-1"],
            f'"done" and --thread-id fthr-1 name two threads; or {QUOTES}',
        ),
        (["answer", "--body", "see", "fthr-1", "--thread-id", "fthr-1"], QUOTES),
        (["answer", "fthr-1", "--body", "Use", "v2"], f"extra argument (v2); {QUOTES} (see"),
    ],
)
def test_a_thread_is_named_once(arguments: list[str], words: str) -> None:
    """In one line, with what to look at."""
    done = shell(["forum", *arguments], METAWSM_SERVER="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
