"""Topics that Redis refuses: no later message of such a topic overtakes, all are tried again in order after a pause."""

from __future__ import annotations

from collections.abc import Sequence

from metawsm.bus.ports import Publication


class Refusals:
    """What is refused now, and why. `reasons` is for health: topic -> the server's words."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.holding = False  # everything is refused (no memory): publish nothing until the next try
        self._blocked: set[str] = set()

    def allowed(self, publications: Sequence[Publication]) -> Sequence[Publication]:
        """Those whose topic is not refused."""
        if not self._blocked:
            return publications
        return [each for each in publications if each.topic not in self._blocked]

    def note(self, publications: Sequence[Publication], faults: Sequence[str | None]) -> None:
        """Learn from the answers."""
        if not self.reasons and not any(faults):
            return
        for publication, fault in zip(publications, faults, strict=True):
            if fault is None:
                self.reasons.pop(publication.topic, None)
            else:
                self.reasons[publication.topic] = fault
                self._blocked.add(publication.topic)
                self.holding = self.holding or fault.startswith("OOM")

    def try_again(self) -> None:
        """Let everything through until the next answer; what was not refused again since the last time is forgotten."""
        self.reasons = {topic: self.reasons[topic] for topic in self._blocked if topic in self.reasons}
        self._blocked.clear()
        self.holding = False
