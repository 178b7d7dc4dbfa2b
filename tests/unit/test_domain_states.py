"""States, transitions and who may make them, as section 8 of the contract has them."""

from __future__ import annotations

import itertools

import pytest

from metawsm.domain.errors import IllegalTransition, NotAllowed
from metawsm.domain.states import OUTSIDE_ACTORS, STATES, check_transition

LEGAL = {
    ("new", to) for to in ("triaged", "waiting_operator", "waiting_human", "answered", "closed")
} | {
    ("triaged", to) for to in ("waiting_operator", "waiting_human", "answered", "closed")
} | {
    ("waiting_operator", to) for to in ("waiting_human", "triaged", "answered", "closed")
} | {
    ("waiting_human", to) for to in ("waiting_operator", "triaged", "answered", "closed")
} | {
    ("answered", to) for to in ("waiting_operator", "waiting_human", "closed")
} | {("closed", "triaged")}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), [pair for pair in itertools.product(STATES, STATES) if pair[0] != pair[1]])
def test_the_table_of_transitions(old: str, new: str) -> None:
    """Exactly the moves of the contract are legal."""
    if (old, new) in LEGAL:
        check_transition(old, new, "human")
    else:
        with pytest.raises(IllegalTransition, match=f"from {old} to {new}"):
            check_transition(old, new, "human")


@pytest.mark.parametrize("actor", OUTSIDE_ACTORS)
def test_only_responders_reopen(actor: str) -> None:
    """A closed thread is reopened by a human or an operator."""
    if actor == "agent":
        with pytest.raises(NotAllowed):
            check_transition("closed", "triaged", actor)
    else:
        check_transition("closed", "triaged", actor)
