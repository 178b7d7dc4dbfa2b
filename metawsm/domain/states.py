"""Thread states, priorities and actors, and which moves are legal. Source: contract, sections 1 and 8."""

from __future__ import annotations

from metawsm.domain.errors import IllegalTransition, NotAllowed

STATES = ("new", "triaged", "waiting_operator", "waiting_human", "answered", "closed")
PRIORITIES = ("low", "normal", "high", "urgent")
ACTOR_TYPES = ("agent", "operator", "human", "system")
OUTSIDE_ACTORS = ("agent", "operator", "human")
RESPONDERS = ("operator", "human")

TRANSITIONS: dict[str, frozenset[str]] = {
    "new": frozenset({"triaged", "waiting_operator", "waiting_human", "answered", "closed"}),
    "triaged": frozenset({"waiting_operator", "waiting_human", "answered", "closed"}),
    "waiting_operator": frozenset({"waiting_human", "triaged", "answered", "closed"}),
    "waiting_human": frozenset({"waiting_operator", "triaged", "answered", "closed"}),
    "answered": frozenset({"waiting_operator", "waiting_human", "closed"}),
    "closed": frozenset({"triaged"}),
}


def check_transition(from_state: str, to_state: str, actor_type: str) -> None:
    """Raise IllegalTransition or NotAllowed unless the move is in the table (a move to the same state is not asked)."""
    if to_state not in TRANSITIONS[from_state]:
        allowed = ", ".join(s for s in STATES if s in TRANSITIONS[from_state])
        raise IllegalTransition(
            f"a thread cannot go from {from_state} to {to_state}; from {from_state} it can go to: {allowed}",
            details={"from_state": from_state, "to_state": to_state},
        )
    if from_state == "closed" and actor_type not in RESPONDERS:
        raise NotAllowed(f"only a human or an operator reopens a closed thread, not actor_type {actor_type}")
