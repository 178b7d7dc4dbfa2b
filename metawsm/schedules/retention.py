"""What is old enough goes: done outbox rows, idempotency keys, batch rows, stream entries; a little at a time."""

from __future__ import annotations

from functools import partial

from metawsm.bus.clockwork import Clockwork
from metawsm.bus.specs import ScheduleSpec

DAY = 86_400.0
MOST_ROUNDS = 200  # bounded jobs of one run; the next run goes on


def run(tools: Clockwork) -> None:
    """Prune every table in bounded jobs, then trim the streams."""
    before = tools.ago(tools.retention.done_days * DAY)
    for prune in tools.prunes:
        for _ in range(MOST_ROUNDS):
            if not tools.writer.run(partial(prune, before=before)):
                break
    if tools.connected():
        tools.trim_streams(tools.retention)


SPEC = ScheduleSpec("retention", 60.0, run)
