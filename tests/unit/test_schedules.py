"""What schedules decide, from numbers alone."""

from __future__ import annotations

import pytest

from metawsm.bus.clockwork import CommandLag, Retention


@pytest.mark.parametrize("hours", [1, 72, 168, 169, 24 * 90])
def test_a_row_outlives_its_entry_in_redis(hours: int) -> None:
    """Else an entry of another program that is delivered once more would be a new command; a week at least."""
    kept = Retention(hours, 1000).done_days
    assert kept >= 7
    assert kept * 24 > hours


@pytest.mark.parametrize(
    ("lag", "pending", "delivered", "oldest", "passed"),
    [
        (0, 0, 0, 0, True),
        (3, 0, 500, 0, True),
        (None, 2, 500, 400, True),
        (3, 0, 50, 0, False),
        (0, 1, 500, 90, False),
    ],
)
def test_a_busy_group_passes_what_was_lost(
    lag: int | None, pending: int, delivered: int, oldest: int, passed: bool
) -> None:
    """Empty, or with only newer entries delivered and not acked: nothing from before the moment is left for it."""
    assert CommandLag("t", lag, pending, delivered, oldest).has_passed(100) is passed
