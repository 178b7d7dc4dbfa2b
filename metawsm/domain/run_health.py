"""What a look at an agent's session says about the agent. Times are seconds since the epoch."""

from __future__ import annotations

from attrs import frozen


@frozen
class Thresholds:
    """After how many seconds without output an agent is idle or stalled, and without progress stalled."""

    idle: float
    activity_stalled: float
    progress_stalled: float


@frozen
class Seen:
    """A look: whether the session is there, how the program ended, when it last printed and its work last moved."""

    session: bool
    ended: bool = False
    exit_code: int | None = None
    activity: float | None = None
    progress: float | None = None


def state_of(seen: Seen, now: float, after: Thresholds) -> tuple[str, str | None]:
    """The agent's state, and why where that is not plain.

    A program that ended with 0 is stopped, with another code failed; without a known one, or when its session has
    gone, it is dead. Progress counts by itself: an agent that only prints is stalled in the end.
    """
    if seen.ended and seen.exit_code is not None:
        return ("stopped", "ended by itself") if seen.exit_code == 0 else ("failed", f"exit code {seen.exit_code}")
    if not seen.session:
        return "dead", "its session is gone"
    if seen.ended:
        return "dead", "its program ended, with an exit code that is not known"
    quiet = now - seen.activity if seen.activity is not None else 0.0
    still = now - seen.progress if seen.progress is not None else 0.0
    if quiet >= after.activity_stalled:
        return "stalled", f"no output for {quiet / 60:.0f} min"
    if still >= after.progress_stalled:
        return "stalled", f"no progress for {still / 60:.0f} min"
    return ("idle", None) if quiet >= after.idle else ("running", None)
