"""Commands as they were accepted: spares their handler reading them back from the text of the row."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from metawsm.domain.envelope import Envelope

MOST = 1024
LONGEST = 8192  # characters of a row's text


@frozen
class Decoded:
    """What a command row says: its head, its checked message, and the sequence its sender expects."""

    envelope: Envelope
    message: Any
    expected_sequence: int | None


class Fresh:
    """A few decoded commands by id. A shortcut only: one that is not here is decoded from its row."""

    def __init__(self) -> None:
        self._kept: dict[str, Decoded] = {}

    def keep(self, command_id: str, decoded: Decoded, text: str) -> None:
        """Remember a command whose row has this text; the newest wins."""
        if len(text) > LONGEST:
            return
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[command_id] = decoded

    def take(self, command_id: str) -> Decoded | None:
        """The command, and forget it."""
        return self._kept.pop(command_id, None)
