"""Topics that Redis refuses: no later message of such a topic overtakes; its oldest one asks when it is taken again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metawsm.bus.ports import Publication
from metawsm.bus.work import Queued


class Refusals:
    """What is refused now, and why. `reasons` is for health: topic -> the server's words."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self._oldest: dict[str, Publication] = {}  # of each refused topic

    @property
    def holding(self) -> bool:
        """Whether everything is refused (no memory): nothing else is published meanwhile."""
        return bool(self.reasons) and any(reason.startswith("OOM") for reason in self.reasons.values())

    def allowed(self, publications: Sequence[Publication]) -> Sequence[Publication]:
        """Those whose topic is not refused."""
        if not self.reasons:
            return publications
        return [each for each in publications if each.topic not in self.reasons]

    def note(self, publications: Sequence[Publication], faults: Sequence[str | None]) -> None:
        """Learn from the answers to what was published in order."""
        if not any(faults):
            return
        for publication, fault in zip(publications, faults, strict=True):
            if fault is not None:
                self.reasons[publication.topic] = fault
                self._oldest.setdefault(publication.topic, publication)

    def probes(self) -> list[Publication]:
        """One message of each refused topic: what waits behind it costs nothing while it is refused."""
        return list(self._oldest.values())

    def settle(self, probes: Sequence[Publication], faults: Sequence[str | None]) -> bool:
        """Learn from the answers to probes; whether a topic is taken again, so that what waits can follow."""
        for probe, fault in zip(probes, faults, strict=True):
            if fault is not None:
                self.reasons[probe.topic] = fault
            elif self._oldest.get(probe.topic) is probe:
                del self._oldest[probe.topic], self.reasons[probe.topic]
        return None in faults

    def forget(self) -> None:
        """Let everything through until the next answer."""
        self.reasons.clear()
        self._oldest.clear()


def refused(
    rows: Sequence[Queued], sent: Sequence[Sequence[Publication]], faults: Sequence[str | None]
) -> Mapping[int, str]:
    """What the server said about each row that it refused, wholly or in part, by the row's id."""
    answers = iter(faults)
    told = {
        row.row_id: "; ".join(f"{each.topic}: {fault}" for each in group if (fault := next(answers)))
        for row, group in zip(rows, sent, strict=True)
    }
    return {row_id: text for row_id, text in told.items() if text}
