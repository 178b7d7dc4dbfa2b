"""An agent's session ends."""

from __future__ import annotations

from pathlib import Path

from metawsm.bus.jobs import Job, JobSpec, JobTools, Result, has_session, record_step, step_of
from metawsm.domain.run import START_SESSION, Run


def do(tools: JobTools, job: Job) -> Result:
    """End the session; the exit code of a program that had ended before is kept."""
    run, step = step_of(tools, job)
    agent = run.agent(step.args["agent"])
    if agent is None:
        return {}
    code = tools.launcher.exit(Path(agent.folder)).code if agent.folder else None
    if _ever_began(run, agent.name) and has_session(tools, run, agent):
        tools.tmux.kill(agent.session)
    if step.action == "cleanup" and agent == run.agents[-1]:  # none is left that writes there
        tools.launcher.forget(tools.state_folder / "agents" / run.run_id)
    return {} if code is None else {"exit_code": code}


def _ever_began(run: Run, agent: str) -> bool:
    """Without a beginning there is nothing to end, not even where tmux is missing."""
    return any(s.kind == START_SESSION and s.args["agent"] == agent and s.started_at for s in run.steps)


SPEC = JobSpec("stop_session", do, record_step)
