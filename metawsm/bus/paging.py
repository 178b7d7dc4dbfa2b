"""A page of threads: stretches of the order walked one after the other, and the cursor to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from attrs import frozen

from metawsm.bus import cursors
from metawsm.bus.ports import Db
from metawsm.domain.thread import Thread

# Keys looked at for one page. Where filters meet that share no index, a page may end here: short, with a cursor.
SCAN_LIMIT = 600
NO_ROW = 0
_JUMP_COST = 8

T = TypeVar("T")
Place = tuple[Any, int]
"""What a stretch is ordered by (a sequence or a time), and the thread's key; NO_ROW marks a place without one."""


@frozen
class Stretch:
    """One part of an order: `walk(db, after)` yields the places after a place (None: from its beginning).

    `by` is what its places hold: a sequence (int) or a time (str).
    """

    walk: Callable[[Db, Place | None], Iterable[Any]]
    by: type = int


@frozen
class Page:
    """The threads of a page. `end` is the stretch and place to go on from, or None when there are no more."""

    threads: Sequence[Thread]
    end: tuple[int, Place] | None


def read_page(
    db: Db,
    stretches: Sequence[Stretch],
    begin: tuple[int, Place] | None,
    limit: int,
    fetch: Callable[[Db, int], Thread | None],
) -> Page:
    """Walk the stretches from `begin` on until `limit` threads are found; `fetch` gives the thread of a key, or None
    when it does not belong on this page. Raises Malformed for a `begin` that is no place in these stretches."""
    threads: list[Thread] = []
    _check(stretches, begin)
    first, after = begin or (0, None)
    end, looked = begin, 0
    for number in range(first, len(stretches)):
        for place in stretches[number].walk(db, after):
            if len(threads) == limit or looked >= SCAN_LIMIT:
                return Page(threads, end)
            end = (number, place)
            looked += 1 if place[1] else _JUMP_COST
            thread = fetch(db, place[1]) if place[1] else None
            if thread is not None:
                threads.append(thread)
        after = None
    return Page(threads, None)


def _check(stretches: Sequence[Stretch], begin: tuple[int, Place] | None) -> None:
    if begin is not None and not (begin[0] < len(stretches) and type(begin[1][0]) is stretches[begin[0]].by):
        raise cursors.faulty("is not one that this program gave out; leave it out to begin anew")


def portion(items: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[T]:
    """The first items, until they are `most` or more together; at least one, if there is one."""
    taken = 0
    for item in items:
        yield item
        taken += size(item)
        if taken >= most:
            return


@frozen
class Head:
    """What a cursor fixes: the newest event at the first page, and the moment up to which waits are breaches."""

    sequence: int
    due: str


def read_cursor(cursor: str, question: int) -> tuple[Head, tuple[int, Place]]:
    """The head and the place of a cursor. Raises Malformed."""
    sequence, due, number, moment, place, key = cursors.decode(cursor, question, (int, str, int, str, int, int))
    return Head(sequence, due), (number, (moment or place, key))


def write_cursor(question: int, head: Head, end: tuple[int, Place]) -> str:
    """The cursor of a page's end."""
    number, (place, key) = end
    moment = place if isinstance(place, str) else ""
    return cursors.encode(question, (head.sequence, head.due, number, moment, 0 if moment else place, key))
