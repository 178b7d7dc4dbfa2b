"""A workspace goes: its worktrees and its folder. The branches stay, if anybody has worked on them."""

from __future__ import annotations

from pathlib import Path

from metawsm.bus.jobs import Job, JobSpec, JobTools, Result, record_step, step_of
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.domain.run import START_SESSION, Run

NAMED = 8
"""How many files a note names."""


def do(tools: JobTools, job: Job) -> Result:
    """Remove it; what would be lost stands in the way unless it was said to go, too."""
    run, step = step_of(tools, job)
    name, force = str(step.args["workspace"]), bool(step.args["force"])
    mains = {repo: Path(main) for repo, main in run.repositories.items()}
    try:
        tools.workspaces.delete(name, force=force, mains=mains, branch=run.workspace(name).branch)
    except Obstructed as error:
        if force or "link" in error.details:
            raise
        mend = f"metawsm.pyz cleanup --run-id {run.run_id} --force"
        raise Obstructed(
            f"{error.message} Save what you need of it; {mend} removes it all.", details=error.details
        ) from None
    _forget_worktrees(tools, run, Path(run.workspace(name).path), force)
    if not any(each.kind == START_SESSION and each.started_at for each in run.steps):
        _drop_branches(tools, run, run.workspace(name).branch)
    return _left(Path(run.workspace(name).path))


def _left(place: Path) -> Result:
    """What stays in the folder, as it is none of ours; told as a note."""
    if not place.is_dir():
        return {}
    names = sorted(clean(path.name) for path in place.iterdir())
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return {"notes": [f"{place} stays: {', '.join(names[:NAMED])}{more} in it is not of the run."]}


def _drop_branches(tools: JobTools, run: Run, branch: str) -> None:
    """Of a run that nobody has worked in, the branches go as well, where nothing is on them."""
    for main in run.repositories.values():
        if Path(main, ".git").exists():
            tools.git.drop_branch(Path(main), branch, run.base)


def _forget_worktrees(tools: JobTools, run: Run, place: Path, force: bool) -> None:
    """Of a folder that somebody removed by hand, the repositories still know."""
    for repo, main in run.repositories.items():
        if Path(main, ".git").exists():
            tools.git.remove_worktree(Path(main), place / repo, force=force)


SPEC = JobSpec("remove_workspace", do, record_step)
