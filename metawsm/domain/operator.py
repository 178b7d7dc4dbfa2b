"""What an operator would do about a run now: a rule from a snapshot to a decision. Times are RFC 3339, UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

from metawsm.domain.run import Run, RunAgent, is_complete

NOTHING, ANSWER, RESTART, STOP, ASK_HUMAN = "nothing", "answer_guidance", "restart", "stop", "ask_human"
UNHEALTHY = ("stalled", "dead", "failed")
EARNED_BACK = 10  # cooldowns of health after which the restarts of an agent no longer count


@frozen
class OperatorLimits:
    """`confirm_seconds`: how long an agent must be unhealthy before it counts; the rest as in the policy."""

    confirm_seconds: float = 10
    restart_budget: int = 3
    restart_cooldown_seconds: float = 60
    stale_run_age_seconds: float = 3600


@frozen
class Decision:
    """What to do, why, and about which agents."""

    action: str
    reason: str = ""
    agents: tuple[str, ...] = ()


def decide(run: Run, limits: OperatorLimits, now: str) -> Decision:
    """The first rule that applies: answer guidance, stop what is stale, restart what is sick, within its budget."""
    if run.state == "awaiting_guidance":
        waiting = tuple(agent.name for agent in run.agents if agent.open_requests)
        return Decision(ANSWER, f"{', '.join(waiting)} asked and waits for an answer", waiting)
    if run.state not in ("running", "failed"):
        return Decision(NOTHING)
    if run.state == "failed" and _age(run.updated_at, now) >= limits.stale_run_age_seconds:
        return Decision(NOTHING)  # who left it so for long may have had a reason: it is theirs to resume
    sick = [agent for agent in run.agents if _is_sick(agent, limits, now) and not is_complete(run, agent)]
    if not sick:
        return _after_the_end(run)
    names = tuple(agent.name for agent in sick)
    if run.state == "running" and _is_stale(run, sick, limits, now):
        minutes = _age(run.updated_at, now) / 60
        return Decision(STOP, f"nothing has moved for {minutes:.0f} min and no agent lives", names)
    return _mend(sick, names, limits, now)


def _after_the_end(run: Run) -> Decision:
    """An agent that ended with 0 and owes its reports: whether it is done, a human has to see."""
    left = tuple(agent.name for agent in run.agents if agent.ended_well and not is_complete(run, agent))
    if run.state != "running" or not left:
        return Decision(NOTHING)
    return Decision(ASK_HUMAN, f"{', '.join(left)} ended without having reported completion and validation", left)


def _mend(sick: list[RunAgent], names: tuple[str, ...], limits: OperatorLimits, now: str) -> Decision:
    told = "; ".join(f"{agent.name} is {agent.state}: {agent.reason}" for agent in sick)
    spent = [agent for agent in sick if restarts(agent, limits) >= limits.restart_budget]
    if spent:
        return Decision(ASK_HUMAN, f"restarted {spent[0].restarts} times in vain; {told}", names)
    if any(a.restarted_at and _age(a.restarted_at, now) < limits.restart_cooldown_seconds for a in sick):
        return Decision(NOTHING, f"restarted a moment ago; {told}", names)
    return Decision(RESTART, told, names)


def restarts(agent: RunAgent, limits: OperatorLimits) -> int:
    """How many automatic restarts count: none, once the agent was well for long after the newest."""
    if agent.restarted_at is None:
        return 0
    well = _age(agent.restarted_at, agent.state_since)
    return 0 if well >= EARNED_BACK * limits.restart_cooldown_seconds else agent.restarts


def next_restart(run: Run, names: Sequence[str], limits: OperatorLimits) -> int:
    """How many automatic restarts in a row the next one of these agents (or of all) makes."""
    wanted = (agent for agent in run.agents if agent.name in names or not names)
    return 1 + max((restarts(agent, limits) for agent in wanted), default=0)


def _is_sick(agent: RunAgent, limits: OperatorLimits, now: str) -> bool:
    return agent.state in UNHEALTHY and _age(agent.state_since, now) >= limits.confirm_seconds


def _is_stale(run: Run, sick: list[RunAgent], limits: OperatorLimits, now: str) -> bool:
    """Nothing has happened for long, and every agent is proven to be gone: a stalled one may still wake up."""
    gone = len(sick) == len(run.agents) and all(agent.state in ("dead", "failed") for agent in sick)
    return gone and _age(run.updated_at, now) >= limits.stale_run_age_seconds


def _age(since: str, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
