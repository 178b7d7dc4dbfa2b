"""What agents write cannot move the cursor, set titles or turn the direction of a terminal."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metawsm.cli.exit_codes import BY_CODE, ExitCode, exit_code
from metawsm.cli.output import Column, age, fit, key
from metawsm.cli.serve import Address, Duration
from metawsm.cli.text import cut, fold, one_line, pad, width
from metawsm.client.errors import ApiError
from metawsm.domain import errors
from metawsm.domain.errors import MetawsmError
from metawsm.domain.plain_text import clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("a\u202eb\u2066c\u200fd", "abcd"),
        ("a\x00b\x08c\x7fd\x85e", "abcde"),
        ("a\r\nb\tc\rd", "a\nb\tcd"),
        ("\x1b", ""),
        ("ünïcode ✓", "ünïcode ✓"),
    ],
)
def test_control_sequences_are_taken_out(text: str, shown: str) -> None:
    """Escape sequences go as a whole, other controls one by one, letters stay."""
    assert clean(text) == shown


@given(st.text())
def test_nothing_dangerous_is_left(text: str) -> None:
    """No control or direction character gets through, whatever surrounds it."""
    left = [sign for sign in clean(text) if unicodedata.category(sign) == "Cc" and sign not in "\n\t"]
    assert left == []
    assert not set(clean(text)) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
    assert "\n" not in one_line(text)


@given(st.text(), st.integers(1, 60))
def test_cells_keep_their_width(text: str, columns: int) -> None:
    """A cut and padded cell is exactly as wide as its column, also with wide characters."""
    cell = one_line(text)
    assert width(cut(cell, columns)) <= columns
    assert width(pad(cut(cell, columns), columns)) == columns


@given(st.lists(st.tuples(st.text(max_size=50), st.text(max_size=80)), min_size=1, max_size=5), st.integers(30, 200))
def test_tables_fit_the_terminal(cells: list[tuple[str, str]], limit: int) -> None:
    """Columns go, and the flexible one shrinks, until the rows fit."""
    columns = [
        Column("ID", lambda row: "0123456789"),
        Column("A", key("a"), drop=1),
        Column("B", key("b"), flexible=True),
    ]
    shown, widths = fit(columns, [{"a": a, "b": b} for a, b in cells], limit)
    assert sum(widths) + 2 * (len(widths) - 1) <= limit
    assert {column.head for column in shown} >= {"ID", "B"}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (200_000, "2d")]
)
def test_ages_are_short(seconds: int, shown: str) -> None:
    """A time is shown as how long ago it was."""
    now = datetime(2026, 1, 5, tzinfo=UTC)
    then = (now - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    assert age(then, now) == shown
    assert age("nonsense", now) == ""


@given(st.text(alphabet="ab 漢\n", max_size=60), st.integers(0, 20))
def test_folding_loses_nothing_and_fits(text: str, columns: int) -> None:
    """Lines are no wider than asked, where a single sign fits at all; every word comes out, in its order."""
    lines = fold(text, columns)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert all(width(line) <= max(columns, 2) for line in lines)


def test_folding_breaks_at_blanks() -> None:
    """A word that fits a line of its own is not broken; without a limit there is one line."""
    assert fold("one two  three\nfour", 9) == ["one two", "three", "four"]
    assert fold("abcdefghij kl", 6) == ["abcdef", "ghij", "kl"]
    assert fold("one two  three\nfour", None) == ["one two three four"]


def test_every_code_of_the_error_tree_has_an_exit_code() -> None:
    """A new error class has to be placed in the table, or to be a plain failure on purpose."""
    plain = {"internal", "undecodable", "unavailable", "overloaded", "outcome_unknown", "refused"}
    plain |= {"outside", "program_missing", "program_failed", "program_timed_out"}
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MetawsmError)]
    assert {kind.code for kind in classes} - plain <= set(BY_CODE)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "not_found", ExitCode.NOT_FOUND),
        (409, "illegal_transition", ExitCode.CONFLICT),
        (409, "a_new_one", ExitCode.CONFLICT),
        (403, "not_allowed", ExitCode.NOT_ALLOWED),
        (401, "unauthenticated", ExitCode.NOT_ALLOWED),
        (422, "invalid_fields", ExitCode.INVALID),
        (413, "too_large", ExitCode.INVALID),
        (503, "unavailable", ExitCode.FAILED),
        (500, "internal", ExitCode.FAILED),
    ],
)
def test_errors_of_the_daemon_have_exit_codes(status: int, code: str, expected: ExitCode) -> None:
    """The code decides, and the status where the code is not known."""
    assert exit_code(ApiError(status, b"", {"error": {"code": code}})) is expected


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":3001", ("127.0.0.1", 3001)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:3001", ("localhost", 3001)),
    ],
)
def test_listen_addresses(text: str, address: tuple[str, int]) -> None:
    """A bare port means this machine only."""
    assert Address().convert(text, None, None) == address


@pytest.mark.parametrize("text", ["3001", "x:", "x:99999", "::1:80", ""])
def test_bad_listen_addresses(text: str) -> None:
    """What is no address is a mistake in the command line."""
    with pytest.raises(click.BadParameter):
        Address().convert(text, None, None)


@pytest.mark.parametrize(("text", "seconds"), [("5s", 5.0), ("500ms", 0.5), ("1m30s", 90.0), ("2", 2.0), ("1.5s", 1.5)])
def test_durations(text: str, seconds: float) -> None:
    """Times are written as in the contract."""
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "-1s", "5 s"])
def test_bad_durations(text: str) -> None:
    """What is no time is a mistake in the command line."""
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)
