"""The newest events for live readers: handed out in portions, kept within bounds."""

from __future__ import annotations

from collections.abc import Sequence

from metawsm.daemon.tail import RING_CHARS, Tail, TailEvent


def events(after: int, upto: int, size: int = 10) -> list[TailEvent]:
    """The log between two sequences, at most 500 of it."""
    return [TailEvent(n, "MET-1", None, None, "x" * size) for n in range(after + 1, upto + 1)][:500]


def test_a_portion_at_a_time() -> None:
    """The head stands where the portion ended, so that the next one goes on there."""
    heard: list[int] = []

    def hear(events: Sequence[TailEvent]) -> None:
        heard.extend(event.sequence for event in events)

    tail = Tail(events, 0)
    tail.subscribe(hear)
    heads = []
    while tail.head < 1200:
        tail.advance(1200)
        heads.append(tail.head)
    assert heads == [500, 1000, 1200]
    assert heard == list(range(1, 1201))


def test_memory_is_bounded_by_size() -> None:
    """Large events push out older ones sooner; who is behind them reads the log."""
    size = RING_CHARS // 10
    tail = Tail(lambda after, upto: events(after, upto, size), 0)
    tail.subscribe(lambda _: None)
    for sequence in range(1, 31):
        tail.advance(sequence)
    assert tail.since(19) is None
    kept = tail.since(20)
    assert kept is not None and [event.sequence for event in kept] == list(range(21, 31))


def test_what_was_told_is_not_read_again() -> None:
    """Events that were appended just now are handed out as they are, in order, up to where the projections stand."""
    read: list[tuple[int, int]] = []
    heard: list[str] = []

    def load(after: int, upto: int) -> list[TailEvent]:
        read.append((after, upto))
        return events(after, upto)

    tail = Tail(load, 0)
    tail.subscribe(lambda portion: heard.extend(event.text for event in portion))
    for sequence in (2, 1, 3):
        tail.tell(TailEvent(sequence, "MET-1", None, None, f"told {sequence}"))
    tail.advance(2)
    tail.advance(3)
    assert (heard, read) == (["told 1", "told 2", "told 3"], [])


def test_where_one_is_missing_the_log_is_read() -> None:
    """An event that nobody told of, and all beside it, come from the log: nothing is left out."""
    heard: list[tuple[int, str]] = []
    tail = Tail(events, 0)
    tail.subscribe(lambda portion: heard.extend((event.sequence, event.text) for event in portion))
    for sequence in (1, 3):
        tail.tell(TailEvent(sequence, "MET-1", None, None, f"told {sequence}"))
    tail.advance(3)
    assert heard == [(event.sequence, event.text) for event in events(0, 3)]
