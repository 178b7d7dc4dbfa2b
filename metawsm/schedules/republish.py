"""Commands that are sent and not done although Redis holds nothing of them any more are published again."""

from __future__ import annotations

from datetime import datetime

from metawsm.bus.clockwork import Clockwork, Sent
from metawsm.bus.specs import ScheduleSpec

PATIENCE = 2.0  # seconds a sent command may take before it is looked after
LONG_PATIENCE = 10.0  # seconds after which pending rows are read again, busy or not
TICKS = 2  # looks in a row that must show that its group holds nothing of it
MOST_DOUBLINGS = 11  # of that number, one for each repeat of the same command: at last it is one in an hour
TOLD_AFTER = 2  # repeats; what keeps a command from coming back is something else than a loss, and health says so
SLACK_MS = 1000  # the server's clock may be behind ours


def run(tools: Clockwork) -> None:
    """Look once: only what its own group has passed for a second, read or not, is lost in Redis.

    What another consumer of our group took away is fetched back first; rows that stay pending are looked for again.
    """
    if not tools.connected():
        tools.repeats = 0  # whoever connects repeats them
        return
    tools.claim()
    pending = tools.read(tools.oldest_pending)
    if pending is not None and not _is_new(tools, pending):
        tools.reread(pending < tools.ago(LONG_PATIENCE))
    sent = tools.read(tools.oldest_sent)
    if sent is None or sent.row_id != tools.repeated_row:
        tools.repeats = 0
    if sent is None or _is_new(tools, sent.at):
        tools.idle_ticks = 0
    else:
        _look_after(tools, sent)
    tools.undelivered(sent.topic if sent and tools.repeats >= TOLD_AFTER else None)


def _look_after(tools: Clockwork, sent: Sent) -> None:
    tools.idle_ticks = tools.idle_ticks + 1 if _is_lost(tools, sent) else 0
    if tools.idle_ticks >= TICKS << min(tools.repeats, MOST_DOUBLINGS):
        tools.idle_ticks = 0
        tools.repeats, tools.repeated_row = tools.repeats + 1, sent.row_id
        tools.repeated_at = tools.ago(0)
        tools.repeat_sent(sent.upto)


def _is_new(tools: Clockwork, at: str) -> bool:
    """Not what is to come: that was written before the clock was set back."""
    return tools.ago(PATIENCE) < at <= tools.ago(0)


def _is_lost(tools: Clockwork, sent: Sent) -> bool:
    since = datetime.fromisoformat(max(sent.at, tools.repeated_at))  # what was repeated is on its way again
    moment_ms = int(since.timestamp() * 1000) + SLACK_MS
    return all(lag.has_passed(moment_ms) for lag in tools.command_lags() if lag.topic == sent.topic)


SPEC = ScheduleSpec("republish", 1.0, run)
