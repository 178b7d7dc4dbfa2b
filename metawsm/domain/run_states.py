"""States of runs, of their steps and of their agents, and which moves are legal (docs/decisions/0012-runs.md)."""

from __future__ import annotations

from collections.abc import Mapping

from metawsm.domain.errors import IllegalTransition

RUN_STATES = (
    "created", "planning", "running", "awaiting_guidance", "paused", "failed", "stopping", "stopped", "completed",
    "closing", "closed",
)  # fmt: skip
STEP_STATES = ("pending", "running", "done", "failed", "skipped")
AGENT_STATES = ("pending", "running", "idle", "stalled", "dead", "stopping", "stopped", "failed")

RUNS: dict[str, frozenset[str]] = {
    "created": frozenset({"planning"}),
    "planning": frozenset({"running", "paused", "failed", "stopping"}),
    "running": frozenset({"awaiting_guidance", "failed", "completed", "stopping"}),
    "awaiting_guidance": frozenset({"running", "failed", "stopping"}),
    "paused": frozenset({"planning", "stopping"}),
    "failed": frozenset({"planning", "stopping"}),
    "stopping": frozenset({"stopped", "failed"}),
    "stopped": frozenset({"planning"}),
    "completed": frozenset({"closing", "planning", "running", "stopping"}),
    "closing": frozenset({"closed", "completed"}),
    "closed": frozenset(),
}
STEPS: dict[str, frozenset[str]] = {
    "pending": frozenset({"running", "skipped"}),
    "running": frozenset({"done", "failed"}),
    "failed": frozenset(),
    "done": frozenset(),
    "skipped": frozenset(),
}
AGENTS: dict[str, frozenset[str]] = {
    "pending": frozenset({"running", "failed", "stopping"}),
    "running": frozenset({"pending", "idle", "stalled", "dead", "stopping", "stopped", "failed"}),
    "idle": frozenset({"pending", "running", "stalled", "dead", "stopping", "stopped", "failed"}),
    "stalled": frozenset({"pending", "running", "idle", "dead", "stopping", "stopped", "failed"}),
    "dead": frozenset({"pending", "stopping"}),
    "stopping": frozenset({"pending", "stopped", "failed"}),
    "stopped": frozenset({"pending"}),
    "failed": frozenset({"pending", "stopped"}),
}
ALIVE = ("running", "idle", "stalled")
"""States of an agent whose session is there and whose program has not ended."""
OBSERVED = (*ALIVE, "dead", "stopped", "failed")
"""States of an agent that a look at its session can find."""
OVER = ("closed", "stopped")
"""States of a run that nobody has to look after: in all others something goes on, or somebody has to decide."""


def check_move(what: str, table: Mapping[str, frozenset[str]], from_state: str, to_state: str) -> None:
    """Raise IllegalTransition unless the table has the move."""
    if to_state not in table[from_state]:
        allowed = ", ".join(state for state in table if state in table[from_state]) or "nothing"
        raise IllegalTransition(
            f"{what} is {from_state} and cannot become {to_state}; from {from_state} it can become: {allowed}",
            details={"from_state": from_state, "to_state": to_state},
        )
