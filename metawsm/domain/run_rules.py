"""Rules about a run as a whole: which state follows from its agents, and what bars its closing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from metawsm.domain.errors import CloseBlocked, IllegalTransition
from metawsm.domain.run import BOOTSTRAP, Run, RunAgent, is_complete


def settle(run: Run) -> list[tuple[str, str | None]]:
    """The states, each with its reason, that the run goes through now; empty where it stays as it is.

    An agent that failed before it was done fails the run; an open guidance request holds it; the last answer lets it
    go on. A bootstrap run is completed when every agent has reported completion and a passed validation, a standard one
    when every agent has reported completion or ended with 0. While a step is under way nothing ends.
    """
    if run.state == "completed" and run.waits:
        return [("running", "guidance requested"), ("awaiting_guidance", _who_waits(run))]
    if run.state not in ("running", "awaiting_guidance"):
        return []
    failed = next((agent for agent in run.agents if agent.state == "failed" and not is_complete(run, agent)), None)
    if failed is not None and run.busy is None:
        return [("failed", f"agent {failed.name}: {failed.reason}")]
    if run.waits:
        return [("awaiting_guidance", _who_waits(run))] if run.state == "running" else []
    goes_on: list[tuple[str, str | None]] = [("running", "guidance given")] if run.state == "awaiting_guidance" else []
    if run.busy is None and run.agents and all(is_complete(run, agent) for agent in run.agents):
        return [*goes_on, ("completed", None)]
    return goes_on


def _who_waits(run: Run) -> str:
    return f"guidance requested by {', '.join(agent.name for agent in run.agents if agent.open_requests)}"


@frozen
class Gate:
    """Something that bars the closing of a run: what is missing, and the command that mends it."""

    text: str
    mend: str

    def told(self) -> str:
        """Both in one sentence."""
        return f"{self.text} (mend: {self.mend})"


def mend_of_merge(run: Run, workspace: str, repo: str, details: Mapping[str, Any]) -> str | None:
    """The command for what stands in the way of a merge, by what is known of it: a dirty checkout, or a conflict."""
    if path := details.get("path"):
        return shlex.join(["git", "-C", str(path), "stash"])
    if details.get("files"):
        return shlex.join(["git", "-C", f"{run.workspace(workspace).path}/{repo}", "merge", run.base])
    return None


def check_close(run: Run) -> None:
    """Raise IllegalTransition unless the run is completed, CloseBlocked naming every gate that is shut."""
    if run.state in ("running", "awaiting_guidance"):
        raise_gates(run, list(_gates(run)))  # what is missing says more than the state
    if run.state != "completed":
        raise IllegalTransition(
            f"run {run.run_id} must be in completed state before close (current: {run.state})",
            details={"from_state": run.state, "to_state": "closing"},
        )
    raise_gates(run, list(_gates(run)))


def raise_gates(run: Run, gates: list[Gate]) -> None:
    """Raise CloseBlocked unless the list is empty."""
    if gates:
        raise CloseBlocked(
            f"close blocked: {'; '.join(gate.told() for gate in gates)}",
            details={"run_id": run.run_id, "gates": [{"text": gate.text, "mend": gate.mend} for gate in gates]},
        )


def _gates(run: Run) -> Iterator[Gate]:
    """Of bootstrap runs: completion and passed validation with the brief's done criteria."""
    if run.mode != BOOTSTRAP:
        return
    if run.brief is None:
        yield Gate("missing run brief", "metawsm.pyz bootstrap")
        return
    for agent in run.agents:
        yield from _agent_gates(run, agent, _folded(run.brief.done_criteria))


def _agent_gates(run: Run, agent: RunAgent, criteria: str) -> Iterator[Gate]:
    signal = f"metawsm.pyz forum signal --run-id {run.run_id} --ticket {agent.ticket} --agent-name {agent.name}"
    if agent.open_requests:
        answer = f"{signal} --type guidance_answer --answer <answer>"
        yield Gate(f"agent {agent.name} has {agent.open_requests} pending guidance request(s)", answer)
    if not agent.completed:
        yield Gate(f"agent {agent.name}: missing completion signal", f"{signal} --type completion")
    validation = f"{signal} --type validation --status passed --done-criteria {shlex.quote(criteria)}"
    if agent.validation != "passed":
        yield Gate(f"agent {agent.name}: validation is {agent.validation or 'missing'}", validation)
    elif _folded(agent.done_criteria or "") != criteria:
        yield Gate(f"agent {agent.name}: validated other done criteria than those of the brief", validation)


def _folded(criteria: str) -> str:
    """On one line: a command that repeats the criteria is shown, and typed, on one."""
    return " ".join(criteria.split())
