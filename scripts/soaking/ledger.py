"""What was asked and what was answered, in little memory; and the reckoning at the end.

Each write carries a tag in its text. Accepted = applied exactly once, rejected = not applied, unknown = settled by a
retry with the same key. A write that may be a no-op (to the same state) is applied at most once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable

from attrs import define, frozen

TAG = re.compile(r"soak-[0-9a-f]{32}")


@frozen
class Entry:
    """One write as it is sent: its tag is its key as well. `exact`: applied means that an event carries the tag."""

    tag: str
    path: str
    body: bytes
    exact: bool = True


@define
class Counts:
    """What the ledger holds."""

    applied: int = 0
    rejected: int = 0
    open: int = 0
    external: int = 0


class Ledger:
    """Written by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._applied: dict[str, bool] = {}
        self._rejected: set[str] = set()
        self._open: dict[str, Entry] = {}
        self._external: dict[str, bytes] = {}
        self.unclear = 0

    def answered(self, entry: Entry, status: int) -> None:
        """Note an answer; status 0 means that none came."""
        with self._lock:
            self._open.pop(entry.tag, None)
            if status in (200, 201):
                self._applied[entry.tag] = entry.exact
            elif 400 <= status < 500 and status != 429:
                self._rejected.add(entry.tag)
            else:
                self._open[entry.tag] = entry
                self.unclear += 1

    def published(self, tag: str, payload: bytes) -> None:
        """Note a command that another program put into Redis: applied once, if need be after it is sent again."""
        with self._lock:
            self._external[tag] = payload

    def unsettled(self) -> list[Entry]:
        """Writes whose outcome is not known, oldest first."""
        with self._lock:
            return list(self._open.values())

    def external(self) -> dict[str, bytes]:
        """Payloads of the external commands by tag."""
        with self._lock:
            return dict(self._external)

    def counts(self) -> Counts:
        """How many of each."""
        with self._lock:
            return Counts(len(self._applied), len(self._rejected), len(self._open), len(self._external))

    def faults(self, events: Iterable[tuple[str, str]]) -> list[str]:
        """What does not agree with the events, given as (causation id, payload)."""
        times = times_applied(events)
        wrong = [f"{tag} was answered as unclear to the end" for tag in self._open]
        for tag, exact in (self._applied | dict.fromkeys(self._external, True)).items():
            found = times.get(tag, 0)
            if found > 1 or (exact and found == 0):
                wrong.append(f"{tag} was accepted and applied {found} times")
        wrong += [f"{tag} was rejected and applied {times[tag]} times" for tag in self._rejected if tag in times]
        return wrong


def times_applied(events: Iterable[tuple[str, str]]) -> dict[str, int]:
    """By tag, how many commands made events with it."""
    causes: dict[str, set[str]] = {}
    for causation_id, payload in events:
        for tag in TAG.findall(payload):
            causes.setdefault(tag, set()).add(causation_id)
    return {tag: len(found) for tag, found in causes.items()}
