"""Commands that are sent and not done although Redis holds nothing for us any more are published again."""

from __future__ import annotations

from metawsm.bus.clockwork import Clockwork
from metawsm.bus.specs import ScheduleSpec

PATIENCE = 2.0  # seconds a sent command may take before it is looked after
TICKS = 2  # looks in a row that must show empty groups


def run(tools: Clockwork) -> None:
    """Look once: only when every group shows lag 0 and pending 0 for a second is a sent command lost in Redis.

    What another consumer of our group took away is fetched back first; rows that stay pending are looked for again.
    """
    if not tools.connected():
        return
    tools.claim()
    pending = tools.read(tools.oldest_pending)
    if pending is not None and pending < tools.ago(PATIENCE):
        tools.reread()
    oldest, upto = tools.read(tools.oldest_sent)
    if oldest is None or oldest > tools.ago(PATIENCE):
        tools.idle_ticks = 0
        return
    empty = all(lag.lag == 0 and lag.pending == 0 for lag in tools.command_lags())
    tools.idle_ticks = tools.idle_ticks + 1 if empty else 0
    if tools.idle_ticks >= TICKS:
        tools.idle_ticks = 0
        tools.repeat_sent(upto)


SPEC = ScheduleSpec("republish", 1.0, run)
