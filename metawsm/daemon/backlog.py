"""What the relay publishes next: rows handed over in memory, else rows read from the outbox, in id order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from metawsm.bus.work import Queued

MEMORY_LIMIT = 4096  # rows; more wait in the table only
LAST = 2**62

Load = Callable[[str, int, int, int], list[Queued]]  # status, after id, up to id, limit


class Backlog:
    """Rows to publish. Memory is a shortcut; after a start, a fault or too many rows the table is read instead."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._memory: deque[Queued] = deque()
        self._after: int | None = 0  # reading the table from here; None = memory is complete
        self._sent_after = 0
        self._sent_upto = 0

    def append(self, rows: tuple[Queued, ...] | list[Queued]) -> None:
        """Rows that were just committed as pending."""
        if self._after is not None:
            return  # the table has them, and is read to its end
        self._memory.extend(rows)
        if len(self._memory) > MEMORY_LIMIT:
            self.reread()

    def reread(self) -> None:
        """Forget memory and read every pending row from the table."""
        self._memory.clear()
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
            rows = _bounded(self._load("sent", self._sent_after, self._sent_upto, limit), max_bytes)
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
        rows = _bounded(self._load("pending", self._after or 0, LAST, limit), max_bytes)
        self._after = rows[-1].row_id if rows else None
        return rows

    def _from_memory(self, limit: int, max_bytes: int) -> list[Queued]:
        rows: list[Queued] = []
        size = 0
        while self._memory and len(rows) < limit and size < max_bytes:
            row = self._memory.popleft()
            size += len(row.text)
            rows.append(row)
        return rows


def _bounded(rows: list[Queued], max_bytes: int) -> list[Queued]:
    """The first rows up to about so many bytes, at least one."""
    size = 0
    for count, row in enumerate(rows):
        if size >= max_bytes:
            return rows[:count]
        size += len(row.text)
    return rows
