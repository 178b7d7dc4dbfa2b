"""What bars the closing of a run, or its merging, outside of it.

Work that is not on the run's branch, or only in a submodule, and a merge that cannot succeed; at a close also work that
is not committed, and missing documents.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from metawsm.bus.jobs import DOCS, Job, JobSpec, JobTools, Result, record_step, step_of, strayed
from metawsm.bus.outside import Checkout
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.domain.run import SEED_DOCS, Run
from metawsm.domain.run_events import Workspace
from metawsm.domain.run_plan import MERGE_BRANCH
from metawsm.domain.run_rules import Gate, mend_of_merge

SHOWN, LONGEST = 5, 200  # files of a checkout that are named, and characters of their names


def do(tools: JobTools, job: Job) -> Result:
    """Look at every workspace and every merge to come; everything that bars is told at once, nothing is changed."""
    run, step = step_of(tools, job)
    gates = list(dict.fromkeys([*_gone(run)] or _found(tools, run, step.action)))
    if gates:
        told = [{"text": gate.text, "mend": gate.mend} for gate in gates]
        raise Obstructed("; ".join(gate.told() for gate in gates), details={"gates": told})
    return {}


def _found(tools: JobTools, run: Run, action: str) -> list[Gate]:
    """Whether a branch can be merged is not known before all that belongs on it is there."""
    elsewhere = [*_strayed(tools, run)]
    unclosable = [*_unclosable(tools, run)] if action == "close" else []
    return [*elsewhere, *_unpublished(tools, run), *unclosable, *(() if elsewhere else _unmergeable(tools, run))]


def _unclosable(tools: JobTools, run: Run) -> Iterator[Gate]:
    yield from _unsynced(run)
    yield from _dirty(tools, run)
    yield from _undocumented(tools, run)


def _gone(run: Run) -> Iterator[Gate]:
    """Folders that somebody removed by hand: a cleanup takes note of it, then they are made anew."""
    for workspace in run.workspaces:
        for place in (Path(workspace.path, repo) for repo in run.repos):
            if not place.is_dir():
                yield Gate(f"{place} is not there any more", f"metawsm.pyz cleanup --run-id {run.run_id}")


def _places(run: Run) -> Iterator[tuple[Workspace, Checkout]]:
    for workspace in run.workspaces:
        for repo in run.repos:
            yield workspace, Checkout(Path(workspace.path, repo), Path(run.repositories[repo]))


def _strayed(tools: JobTools, run: Run) -> Iterator[Gate]:
    for workspace, place in _places(run):
        if gate := strayed(tools, workspace, place):
            yield gate


def _unpublished(tools: JobTools, run: Run) -> Iterator[Gate]:
    """The base would name commits of submodules that are nowhere else, and that a cleanup would remove."""
    for workspace, place in _places(run):
        for name, commits in tools.git.unpublished(place).items():
            told = f"has commits in submodule {clean(name)} that are on no remote: {'; '.join(commits)}"
            push = ["git", "-C", str(place.path / name), "push", "origin", f"HEAD:refs/heads/{workspace.branch}"]
            yield Gate(f"workspace {workspace.name} repo {place.path.name} {told}", shlex.join(push))


def _unsynced(run: Run) -> Iterator[Gate]:
    newest = {(s.args["workspace"], s.args["ticket"]): s for s in run.steps if s.kind == SEED_DOCS}
    for (workspace, ticket), step in newest.items():
        if step.state != "done":
            mend = f"metawsm.pyz resume --run-id {run.run_id}"
            yield Gate(f"workspace {workspace} ticket {ticket} doc sync status={step.state}", mend)


def _dirty(tools: JobTools, run: Run) -> Iterator[Gate]:
    for workspace, place in _places(run) if tools.require_clean_git else ():
        changes = tools.git.status(place)
        if changes.files:
            more = len(changes.files) - SHOWN + changes.more
            files = ", ".join(clean(name)[:LONGEST] for name in changes.files[:SHOWN]) + (
                f" and {more} more" if more > 0 else ""
            )
            text = f"workspace {workspace.name} repo {place.path.name} has uncommitted changes: {files}"
            where = shlex.quote(str(place.path))
            yield Gate(text, f"git -C {where} add --all && git -C {where} commit")


def _undocumented(tools: JobTools, run: Run) -> Iterator[Gate]:
    for workspace in run.workspaces:
        root = Path(workspace.path, run.doc_home_repo, DOCS)
        if tools.docs.find(root, workspace.ticket) is None:
            text = f"workspace {workspace.name} ticket {workspace.ticket} docs missing under {root}"
            yield Gate(text, f"metawsm.pyz iterate --run-id {run.run_id} --feedback <feedback>")


def _unmergeable(tools: JobTools, run: Run) -> Iterator[Gate]:
    """The merges to come that would fail. At a close the repository with the documents gets a commit in between."""
    for step in run.steps[run.action_from - 1 :]:
        if step.kind == MERGE_BRANCH:
            workspace, repo = run.workspace(step.args["workspace"]), step.args["repo"]
            grows = step.action == "close" and repo == run.doc_home_repo
            try:
                tools.git.check_merge(Path(run.repositories[repo]), workspace.branch, run.base, grows=grows)
            except Obstructed as error:
                mend = mend_of_merge(run, workspace.name, repo, error.details)
                text = f"{repo} cannot be merged into {run.base}: {error.message}"
                yield Gate(text, mend or f"metawsm.pyz close --run-id {run.run_id} --no-merge")


SPEC = JobSpec("check_gates", do, record_step)
