"""What this process has written a moment ago: spares reading it back from the rows.

Shortcuts only, and bounded: the rows stay the truth, and are read where something is not here. On slow disks the hub
and the writer's thread use them at once, so each step is one operation of a dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metawsm.bus.specs import Change
from metawsm.domain.envelope import Envelope
from metawsm.domain.events import Event
from metawsm.domain.values import value_class
from metawsm.messages.codec import Written

if TYPE_CHECKING:
    from metawsm.bus.dispatch import CommandRow

MOST = 2048
LONGEST = 8192  # characters of a row's text


@value_class
class Decoded:
    """What a command says: its head, its checked message, and the sequence its sender expects."""

    envelope: Envelope
    message: Any
    expected_sequence: int | None


Said = Decoded | Written


class Fresh:
    """A few commands by id, each with its row as it was stored or read: `id` and `key` of that never change."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[CommandRow, Said]] = {}

    def keep(self, row: CommandRow, said: Said) -> None:
        """Remember a command and what it says; the newest wins."""
        if len(row.text) > LONGEST:
            return
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[row.message_id] = row, said

    def row(self, command_id: str) -> CommandRow | None:
        """The command's row."""
        kept = self._kept.get(command_id)
        return kept and kept[0]

    def take(self, command_id: str) -> Said | None:
        """What the command says, if that is known, and forget it."""
        kept = self._kept.pop(command_id, None)
        return kept and kept[1]


class FreshEvents:
    """A few appended events by sequence, each with the thread before and after it where that is known.

    A sequence whose transaction was rolled back is given again: ask with the id that the row has.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Change] = {}

    def keep(self, event: Event, text: str) -> None:
        """Remember an event whose payload has this text; the newest wins."""
        if len(text) > LONGEST:
            return
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[event.sequence] = Change(event, None, None)

    def changed(self, change: Change) -> None:
        """An event that may be kept has made this of its thread."""
        if change.event.sequence in self._kept:
            self._kept[change.event.sequence] = change

    def take(self, sequence: int, event_id: str) -> Change | None:
        """The event of a row with its threads, and forget it."""
        change = self._kept.pop(sequence, None)
        return change if change is not None and change.event.envelope.event_id == event_id else None
