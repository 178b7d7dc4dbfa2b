"""A workspace goes: its worktrees and its folder. The branches stay."""

from __future__ import annotations

from metawsm.bus.jobs import Job, JobSpec, JobTools, Result, record_step, step_of


def do(tools: JobTools, job: Job) -> Result:
    """Remove it; uncommitted work stands in the way unless it was said to go, too."""
    run, step = step_of(tools, job)
    tools.workspaces.delete(step.args["workspace"], force=step.args["force"])
    tools.launcher.forget(tools.state_folder / "agents" / run.run_id)
    return {}


SPEC = JobSpec("remove_workspace", do, record_step)
