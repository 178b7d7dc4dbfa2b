"""What the relay publishes next: rows handed over in memory, else rows read from the outbox, in id order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from metawsm.bus.paging import portion
from metawsm.bus.work import Queued

MEMORY_LIMIT = 4096  # rows; more wait in the table only
MEMORY_CHARS = 16 * 1024 * 1024  # of their texts
PORTION = 64  # rows read from the table at once: a row may have 400 kB
LAST = 2**62

Load = Callable[[str, int, int, int], list[Queued]]  # status, after id, up to id, limit


class Backlog:
    """Rows to publish. Memory is a shortcut; after a start, a fault or too many rows the table is read instead."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._memory: deque[Queued] = deque()
        self._chars = 0
        self._after: int | None = 0  # reading the table from here; None = memory is complete
        self._sent_after = 0
        self._sent_upto = 0

    def append(self, rows: tuple[Queued, ...] | list[Queued]) -> None:
        """Rows that were just committed as pending."""
        if self._after is not None:
            return  # the table has them, and is read to its end
        self._memory.extend(rows)
        for row in rows:
            self._chars += len(row.text)
        if len(self._memory) > MEMORY_LIMIT or self._chars > MEMORY_CHARS:
            self.reread()

    def reread(self) -> None:
        """Forget memory and read every pending row from the table."""
        self._memory.clear()
        self._chars = 0
        self._after = 0

    def repeat_sent(self, upto: int) -> None:
        """Publish again the commands up to a row that are sent and not done."""
        self._sent_after = 0
        self._sent_upto = max(upto, self._sent_upto)

    @property
    def waiting(self) -> bool:
        """Whether `take` may have something."""
        return bool(self._memory) or self._after is not None or self._sent_upto > 0

    def take(self, limit: int, max_bytes: int) -> list[Queued]:
        """The next rows to publish, oldest first."""
        if self._sent_upto:
            rows = self._read("sent", self._sent_after, self._sent_upto, limit, max_bytes)
            if rows:
                self._sent_after = rows[-1].row_id
                return rows
            self._sent_upto = 0
        if self._after is not None:
            return self._from_table(limit, max_bytes)
        return self._from_memory(limit, max_bytes)

    @property
    def rereading(self) -> bool:
        """Whether the table is being read because memory is not complete."""
        return self._after is not None

    def _from_table(self, limit: int, max_bytes: int) -> list[Queued]:
        rows = self._read("pending", self._after or 0, LAST, limit, max_bytes)
        self._after = rows[-1].row_id if rows else None
        return rows

    def _read(self, status: str, after: int, upto: int, limit: int, max_bytes: int) -> list[Queued]:
        return list(portion(islice(self._stored(status, after, upto), limit), _size, max_bytes))

    def _stored(self, status: str, after: int, upto: int) -> Iterator[Queued]:
        """The rows of a status between two ids, read as they are asked for."""
        full = True
        while full and (rows := self._load(status, after, upto, PORTION)):
            yield from rows
            after, full = rows[-1].row_id, len(rows) == PORTION

    def _from_memory(self, limit: int, max_bytes: int) -> list[Queued]:
        rows: list[Queued] = []
        taken = 0
        while self._memory and len(rows) < limit and taken < max_bytes:
            rows.append(self._memory.popleft())
            taken += len(rows[-1].text)
        self._chars -= taken
        return rows


def _size(row: Queued) -> int:
    return len(row.text)
