"""The order of threads, and how SQL walks it at any size.

A thread stands in one bucket (its state, and whether it waits), has a priority rank, and moves with each event. Every
index over `forum_thread_views` begins with what may be filtered, then bucket and rank, then the place. So any question
is a few arms, one per bucket, each a stretch of one index, merged by the place: nothing is sorted or skipped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

from metawsm.bus.reading import Filters
from metawsm.domain.states import PRIORITIES, STATES
from metawsm.domain.thread import Thread

RANKS = {name: rank for rank, name in enumerate(PRIORITIES)}
BY_URGENCY = tuple(reversed(range(len(PRIORITIES))))
BUCKETS = 3 * len(STATES)

# How a thread waits: not at all, for an answer, for an answer that holds up a run (with its clock stopped or not).
IDLE, WAITS, BLOCKS = 0, 1, 2
ANY = (IDLE, WAITS, BLOCKS)
WAITING = (WAITS, BLOCKS)


def bucket_of(thread: Thread) -> int:
    """The bucket of a thread."""
    how = BLOCKS if thread.blocks_run else IDLE if thread.waiting_since is None else WAITS
    return 3 * STATES.index(thread.state) + how


def buckets(state: str | None, ways: Collection[int] = ANY, without: str | None = None) -> tuple[int, ...]:
    """The buckets of threads in `state` (None: any but `without`) that wait in one of these ways."""
    states = [state] if state else [s for s in STATES if s != without]
    return tuple(3 * STATES.index(s) + way for s in states for way in ways)


def ranks(priority: str | None) -> tuple[int, ...]:
    """The ranks of a priority (None: all), the most pressing first."""
    return (RANKS[priority],) if priority else BY_URGENCY


@lru_cache(512)
def scope_sql(filters: Filters, *, by_wait: bool = False) -> str:
    """The condition that names the index, of those by activity or by wait; its values are bound by name."""
    wanted = {"ticket": filters.ticket, "run_id": filters.run_id, "assignee_name": filters.assignee}
    # A run is small: beside it the others are looked at, but name no index (that is what the + says).
    beside = {"ticket", "assignee_name"} if by_wait else {"ticket"}
    plus = beside if filters.run_id is not None else ()
    return "".join(f"{'+' * (n in plus)}{n} = :{n} AND " for n, value in wanted.items() if value is not None)


def scope_values(filters: Filters) -> dict[str, str | int | None]:
    """The values for `scope_sql`."""
    return {"ticket": filters.ticket, "run_id": filters.run_id, "assignee_name": filters.assignee}


@lru_cache(512)
def by_activity(scope: str, places: tuple[int, ...], direction: str = "DESC") -> str:
    """SQL for (last_event_sequence, opened_sequence): the most recent first, from :top down, of one :rank.

    With direction ASC: the oldest first, from :top up.
    """
    edge = "<=" if direction == "DESC" else ">="
    # The most frequent question of all has an index of its own: an arm costs 5 microseconds before its first row.
    everywhere = not scope and len(places) == BUCKETS
    conditions = [""] if everywhere else [f"{scope}bucket = {bucket} AND " for bucket in places]
    arms = (
        f"SELECT last_event_sequence AS place, opened_sequence AS id FROM forum_thread_views"  # noqa: S608 - no input
        f" WHERE {condition}priority_rank = :rank AND last_event_sequence {edge} :top"
        for condition in conditions
    )
    return _merged(arms, f"1 {direction}")


@lru_cache(512)
def by_wait(scope: str, places: tuple[int, ...], of: tuple[int, ...]) -> str:
    """SQL for (waiting_since, opened_sequence): the longest waiting first, of the ranks `of`.

    From (:since, :id) on, the place itself left out; after :after and up to :until.
    """
    arms = (
        f"SELECT waiting_since AS place, opened_sequence AS id FROM forum_thread_views"  # noqa: S608 - no input
        f" WHERE {scope}bucket = {bucket} AND priority_rank = {rank} AND waiting_since >= :since"
        f" AND waiting_since <= :until AND waiting_since > :after"
        f" AND NOT (waiting_since = :since AND opened_sequence <= :id)"
        for rank in of
        for bucket in places
    )
    return _merged(arms, "1, 2")


def _merged(arms: Iterable[str], order: str) -> str:
    return " UNION ALL ".join(arms) + f" ORDER BY {order}"
