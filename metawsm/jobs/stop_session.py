"""An agent's session ends."""

from __future__ import annotations

from pathlib import Path

from metawsm.bus.jobs import Job, JobSpec, JobTools, Result, record_step, step_of


def do(tools: JobTools, job: Job) -> Result:
    """End the session; the exit code of a program that had ended before is kept."""
    run, step = step_of(tools, job)
    agent = run.agent(step.args["agent"])
    if agent is None:
        return {}
    code = tools.launcher.exit(Path(agent.folder)).code if agent.folder else None
    tools.tmux.kill(agent.session)
    return {} if code is None else {"exit_code": code}


SPEC = JobSpec("stop_session", do, record_step)
