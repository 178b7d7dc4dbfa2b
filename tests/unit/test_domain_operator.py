"""The operator's rules: what is done about a run, from what is known of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from metawsm.domain.operator import Decision, OperatorLimits, decide, next_restart, restarts
from metawsm.domain.run import Run, RunAgent

LIMITS = OperatorLimits(confirm_seconds=10, restart_budget=3, restart_cooldown_seconds=60, stale_run_age_seconds=3600)
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> str:
    """The time that long before NOW."""
    return (NOW - timedelta(seconds=seconds)).isoformat()


def agent(state: str, since: float = 20, **more: Any) -> RunAgent:
    """An agent in a state for some seconds."""
    name = more.pop("name", "bob")
    found = RunAgent(name, "p", "MET-1", "w", name, state=state, state_since=ago(since), reason="because")
    return attrs.evolve(found, **more)


def run(*agents: RunAgent, state: str = "running", updated: float = 20) -> Run:
    """A run of these agents, last changed some seconds ago."""
    return Run("run-1", "run", state, ago(9), ("MET-1",), ("api",), "api", "main", "create", ago(9999), ago(updated), 7,
               agents=agents)  # fmt: skip


def decided(found: Run) -> Decision:
    """What the rules say now."""
    return decide(found, LIMITS, NOW.isoformat())


@pytest.mark.parametrize("state", ["stalled", "dead"])
def test_a_sick_agent_is_restarted_once_it_is_surely_sick(state: str) -> None:
    """Nothing is done before the time of the confirmations is over."""
    assert decided(run(agent(state, 9))).action == "nothing"
    assert decided(run(agent(state, 10), agent("running", name="ann"))) == Decision(
        "restart", f"bob is {state}: because", ("bob",)
    )


@pytest.mark.parametrize("state", ["pending", "running", "idle", "stopping", "stopped"])
def test_others_are_left_alone(state: str) -> None:
    """Who works, rests or has ended needs nobody."""
    assert decided(run(agent(state, 9999))).action == "nothing"


def test_who_ended_and_owes_reports_is_for_a_human() -> None:
    """A bootstrap run whose agent ended with 0 would wait for ever; one that failed or waits has its own rule."""
    ended = attrs.evolve(run(agent("stopped", exit_code=0), agent("running", name="ann")), mode="bootstrap")
    assert decided(ended) == Decision(
        "ask_human", "bob ended without having reported completion and validation", ("bob",)
    )
    assert decided(attrs.evolve(ended, mode="run")).action == "nothing"
    assert decided(attrs.evolve(ended, state="failed")).action == "nothing"


@pytest.mark.parametrize("state", ["planning", "paused", "stopping", "stopped", "completed", "closing", "closed"])
def test_only_runs_at_work_are_looked_after(state: str) -> None:
    """A dead agent of a run that has ended is no news."""
    assert decided(run(agent("dead"), state=state)).action == "nothing"


def test_an_agent_that_failed_its_run_is_restarted() -> None:
    """The run failed because of it."""
    assert decided(run(agent("failed"), state="failed")).action == "restart"


def test_a_run_that_failed_long_ago_is_left_alone() -> None:
    """An operator that is started after a week begins nothing that everybody has forgotten."""
    assert decided(run(agent("failed", 9999), state="failed", updated=3599)).action == "restart"
    assert decided(run(agent("failed", 9999), state="failed", updated=3600)).action == "nothing"


def test_guidance_comes_first() -> None:
    """Whoever waits for an answer is told of, and a sick neighbour is not touched meanwhile."""
    waiting = run(agent("running", open_requests=1), agent("dead", name="ann"), state="awaiting_guidance")
    assert decided(waiting) == Decision("answer_guidance", "bob asked and waits for an answer", ("bob",))


def test_the_cooldown() -> None:
    """Two restarts of one agent are a minute apart."""
    assert decided(run(agent("dead", restarts=1, restarted_at=ago(59)))).action == "nothing"
    assert decided(run(agent("dead", restarts=1, restarted_at=ago(60)))).action == "restart"


def test_the_budget_ends_and_is_earned_back() -> None:
    """After three restarts in vain a human is asked; an agent that was well for ten cooldowns begins at none again."""
    spent = agent("dead", since=20, restarts=3, restarted_at=ago(90))
    assert decided(run(spent)).action == "ask_human"
    recovered = attrs.evolve(spent, restarted_at=ago(20 + 600))
    assert restarts(recovered, LIMITS) == 0
    assert decided(run(recovered)).action == "restart"
    assert next_restart(run(recovered), ("bob",), LIMITS) == 1
    assert next_restart(run(attrs.evolve(spent, restarts=2)), (), LIMITS) == 3


def test_a_stale_run_is_stopped_only_when_nothing_lives() -> None:
    """An hour without a change, and every agent gone; one that is only stalled may wake up."""
    gone = (agent("dead", 4000), agent("failed", 4000, name="ann"))
    assert decided(run(*gone, updated=3600)).action == "stop"
    assert decided(run(*gone, updated=3599)).action == "restart"
    assert decided(run(*gone, state="failed", updated=3600)).action == "nothing"
    assert decided(run(gone[0], agent("stalled", 4000, name="ann"), updated=3600)).action == "restart"
    assert decided(run(gone[0], agent("running", 4000, name="ann"), updated=3600)).action == "restart"
