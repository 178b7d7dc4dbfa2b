"""A workspace is made: a linked worktree of each repository, side by side, on the run's branch."""

from __future__ import annotations

from metawsm.bus.jobs import Job, JobSpec, JobTools, Result, record_step, step_of
from metawsm.bus.outside import Workspace
from metawsm.domain.errors import Obstructed
from metawsm.domain.run import Run, Step


def do(tools: JobTools, job: Job) -> Result:
    """Make it, or complete what is there of it."""
    run, step = step_of(tools, job)
    made = _made(tools, run, step)
    missing = [repo for repo in run.repos if repo not in made.checkouts]
    if missing:
        raise Obstructed(f"workspace {made.name} has no checkout of {', '.join(missing)}")
    return {"workspace_path": str(made.path), "branch": made.branch} | ({"notes": made.notes} if made.notes else {})


def _made(tools: JobTools, run: Run, step: Step) -> Workspace:
    planned = run.workspace(step.args["workspace"])
    match step.args["strategy"]:
        case "reuse":
            found = tools.workspaces.find(planned.name)
            if found is None:
                raise Obstructed(
                    f"there is no workspace {planned.name} to work in; name one that exists, or use create"
                )
            return found
        case "fork":
            return tools.workspaces.fork(planned.name, step.args["source"], planned.branch)
        case _:
            return tools.workspaces.create(planned.name, run.repos, planned.branch, run.base)


SPEC = JobSpec("create_workspace", do, record_step)
