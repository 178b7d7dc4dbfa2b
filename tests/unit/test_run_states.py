"""States of runs, steps and agents: the tables as data, and what a move that is not in them says."""

from __future__ import annotations

import pytest

from metawsm.domain.errors import IllegalTransition
from metawsm.domain.run_states import (
    AGENT_STATES,
    AGENTS,
    ALIVE,
    OVER,
    RUN_STATES,
    RUNS,
    STEP_STATES,
    STEPS,
    check_move,
)

LEGAL = {
    "run": (RUNS, RUN_STATES, {
        "created": "planning",
        "planning": "running paused failed stopping",
        "running": "awaiting_guidance failed completed stopping",
        "awaiting_guidance": "running failed stopping",
        "paused": "planning stopping",
        "failed": "planning stopping",
        "stopping": "stopped failed",
        "stopped": "planning",
        "completed": "closing planning running stopping",
        "closing": "closed completed",
        "closed": "",
    }),
    "step": (STEPS, STEP_STATES, {
        "pending": "running skipped", "running": "done failed", "done": "", "failed": "", "skipped": "",
    }),
    "agent": (AGENTS, AGENT_STATES, {
        "pending": "running failed stopping",
        "running": "pending idle stalled dead stopping stopped failed",
        "idle": "pending running stalled dead stopping stopped failed",
        "stalled": "pending running idle dead stopping stopped failed",
        "dead": "pending stopping",
        "stopping": "pending stopped failed",
        "stopped": "pending",
        "failed": "pending stopped",
    }),
}  # fmt: skip
MOVES = [
    (kind, before, after, after in legal[before].split())
    for kind, (_, states, legal) in LEGAL.items()
    for before in states
    for after in states
]


@pytest.mark.parametrize(("kind", "before", "after", "legal"), MOVES)
def test_each_move_is_legal_or_refused(kind: str, before: str, after: str, legal: bool) -> None:
    """A move of the table passes; another one is refused with what is possible instead."""
    table = LEGAL[kind][0]
    if legal:
        check_move("it", table, before, after)
        return
    with pytest.raises(IllegalTransition) as refused:
        check_move("it", table, before, after)
    assert f"it is {before} and cannot become {after}" in str(refused.value)
    assert str(refused.value).endswith(", ".join(s for s in table if s in table[before]) or "nothing")


def test_the_tables_know_every_state() -> None:
    """Each state has a row, and the groups are made of states."""
    for table, states, _ in LEGAL.values():
        assert set(table) == set(states)
    assert set(OVER) <= set(RUN_STATES) and set(ALIVE) <= set(AGENT_STATES)
