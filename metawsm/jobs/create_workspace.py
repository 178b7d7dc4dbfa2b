"""A workspace is made: a linked worktree of each repository, side by side, on the run's branch."""

from __future__ import annotations

from pathlib import Path

from metawsm.bus.jobs import Job, JobSpec, JobTools, Result, record_step, step_of
from metawsm.bus.outside import Checkout, Workspace
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.domain.run import Run, Step
from metawsm.domain.run_plan import OF_SOURCE


def do(tools: JobTools, job: Job) -> Result:
    """Make it, or complete what is there of it."""
    run, step = step_of(tools, job)
    base = _base(tools, run, step)
    made = _made(tools, run, step)
    missing = [repo for repo in run.repos if repo not in made.checkouts]
    if missing:
        raise Obstructed(f"workspace {made.name} has no checkout of {', '.join(missing)}")
    notes = {"notes": made.notes} if made.notes else {}
    return {"workspace_path": str(made.path), "branch": made.branch} | base | notes


def _base(tools: JobTools, run: Run, step: Step) -> dict[str, str]:
    """A fork for which no base is named is merged into its source's branch, the one it had when it was first forked."""
    if step.args.get("base") != OF_SOURCE or any("base" in (each.result or {}) for each in run.steps):
        return {}
    source = tools.workspaces.find(step.args["source"])
    if source is None:
        return {}  # forking it says so
    mains = {repo: Path(main) for repo, main in run.repositories.items() if repo in source.checkouts}
    branches = {repo: tools.git.current_branch(Checkout(source.checkouts[repo], main)) for repo, main in mains.items()}
    if len(set(branches.values())) == 1 and "" not in branches.values():
        return {"base": next(iter(branches.values()))}
    told = (
        ", ".join(f"{repo} on {clean(branch) or 'no branch'}" for repo, branch in branches.items()) or "no repository"
    )
    raise Obstructed(
        f"workspace {source.name} is not on one branch ({told}), so the fork has no base: check out one branch there,"
        " then resume; or start another run with --base-branch."
    )


def _made(tools: JobTools, run: Run, step: Step) -> Workspace:
    planned = run.workspace(step.args["workspace"])
    match step.args["strategy"]:
        case "reuse":
            found = tools.workspaces.find(planned.name)
            if found is None:
                raise Obstructed(
                    f"there is no workspace {planned.name} to work in; name one that exists, or use create"
                )
            if not found.branch:
                raise Obstructed(f"workspace {planned.name} is on no branch: check one out in each repository there")
            return found
        case "fork":
            return tools.workspaces.fork(planned.name, step.args["source"], planned.branch)
        case _:
            return tools.workspaces.create(planned.name, run.repos, planned.branch, run.base)


SPEC = JobSpec("create_workspace", do, record_step)
