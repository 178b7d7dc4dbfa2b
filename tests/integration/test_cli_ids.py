"""Ids that can be none are told by the command line, before anybody is asked."""

from __future__ import annotations

import pytest

from tests.support.shell import shell

NO_ID = "must be an id, without slash or blank"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["answer", "--thread-id", "", "--body", "b"], 7, "--thread-id must not be blank"),
        (["close", "--thread-id", "a b/c"], 7, f"--thread-id {NO_ID}, not 'a b/c'"),
        (["post", "--thread-id", "a\nb", "--body", "b"], 7, f"--thread-id {NO_ID}"),
        (["thread", "--thread-id", " "], 7, "--thread-id must not be blank"),
        (["wait", "a/b"], 7, f"--thread-id {NO_ID}"),
        (["wait", ""], 7, "--thread-id must not be blank"),
        (["close", ""], 7, "--thread-id must not be blank"),
        (["command", "--command-id", " "], 7, "--command-id must not be blank"),
        (["dead-letters", "show", "abc"], 2, "'abc' is not the number of a dead letter"),
        (["dead-letters", "show", ""], 2, "'' is not the number of a dead letter"),
        (["dead-letters", "replay", "7", "1/2"], 2, "'1/2' is not the number of a dead letter"),
        (["dead-letters", "discard", "--yes", "7", "x"], 2, "'x' is not the number of a dead letter"),
    ],
)
def test_an_id_that_can_be_none(arguments: list[str], code: int, words: str) -> None:
    """The option is named, in one line; nobody listens at the address, so nothing was asked."""
    done = shell(["forum", *arguments], METAWSM_SERVER="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
