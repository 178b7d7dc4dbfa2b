"""A run's branch is merged into its base in one repository. Nothing is pushed."""

from __future__ import annotations

from pathlib import Path

from metawsm.bus.jobs import Job, JobSpec, JobTools, Result, record_step, step_of


def do(tools: JobTools, job: Job) -> Result:
    """Merge; a branch that is merged already stays as it is."""
    run, step = step_of(tools, job)
    workspace = run.workspace(step.args["workspace"])
    repo = Path(run.repositories[step.args["repo"]])
    message = f"Merge {workspace.branch} into {run.base} ({workspace.ticket}, run {run.run_id})"
    merged = tools.git.merge(repo, workspace.branch, run.base, message)
    return {"commit": merged.commit, "changed": merged.changed}


# Two runs may merge into the same base: one at a time, since each begins where the other has ended.
SPEC = JobSpec("merge_branch", do, record_step, at_once=1)
