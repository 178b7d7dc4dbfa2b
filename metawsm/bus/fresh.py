"""What this process has written a moment ago: spares reading it back from the rows.

Shortcuts only, and bounded: the rows stay the truth, and are read where something is not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metawsm.domain.envelope import Envelope
from metawsm.domain.events import Event
from metawsm.domain.values import value_class

if TYPE_CHECKING:
    from metawsm.bus.dispatch import CommandRow

MOST = 2048
LONGEST = 8192  # characters of a row's text


@value_class
class Decoded:
    """What a command row says: its head, its checked message, and the sequence its sender expects."""

    envelope: Envelope
    message: Any
    expected_sequence: int | None


class Fresh:
    """A few commands by id, each with its row as it was stored or read: `id` and `key` of that never change."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[CommandRow, Decoded | None]] = {}

    def keep(self, row: CommandRow, decoded: Decoded | None = None) -> None:
        """Remember a command, with what it says if that is known; the newest wins."""
        if len(row.text) > LONGEST:
            return
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[row.message_id] = row, decoded

    def row(self, command_id: str) -> CommandRow | None:
        """The command's row."""
        kept = self._kept.get(command_id)
        return kept and kept[0]

    def take(self, command_id: str) -> Decoded | None:
        """What the command says, if that is known, and forget it."""
        kept = self._kept.pop(command_id, None)
        return kept and kept[1]


class FreshEvents:
    """A few appended events by sequence.

    A sequence whose transaction was rolled back is given again: ask with the id that the row has.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Event] = {}

    def keep(self, event: Event, text: str) -> None:
        """Remember an event whose payload has this text; the newest wins."""
        if len(text) > LONGEST:
            return
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[event.sequence] = event

    def take(self, sequence: int, event_id: str) -> Event | None:
        """The event of a row, and forget it."""
        event = self._kept.pop(sequence, None)
        return event if event is not None and event.envelope.event_id == event_id else None
