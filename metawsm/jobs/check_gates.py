"""What bars the closing of a run, or its merging, outside of it.

Uncommitted work, missing documents, a merge that cannot succeed; for a plain merge only the last.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from metawsm.bus.jobs import DOCS, Job, JobSpec, JobTools, Result, record_step, step_of
from metawsm.bus.outside import Checkout
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.domain.run import SEED_DOCS, Run
from metawsm.domain.run_plan import MERGE_BRANCH
from metawsm.domain.run_rules import Gate, mend_of_merge

SHOWN, LONGEST = 5, 200  # files of a checkout that are named, and characters of their names


def do(tools: JobTools, job: Job) -> Result:
    """Look at every workspace and every merge to come; everything that bars is told at once, nothing is changed."""
    run, step = step_of(tools, job)
    gates = [*_gone(run)] or [*(_unclosable(tools, run) if step.action == "close" else ()), *_unmergeable(tools, run)]
    if gates:
        told = [{"text": gate.text, "mend": gate.mend} for gate in gates]
        raise Obstructed("; ".join(gate.told() for gate in gates), details={"gates": told})
    return {}


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


def _unsynced(run: Run) -> Iterator[Gate]:
    newest = {(s.args["workspace"], s.args["ticket"]): s for s in run.steps if s.kind == SEED_DOCS}
    for (workspace, ticket), step in newest.items():
        if step.state != "done":
            mend = f"metawsm.pyz resume --run-id {run.run_id}"
            yield Gate(f"workspace {workspace} ticket {ticket} doc sync status={step.state}", mend)


def _dirty(tools: JobTools, run: Run) -> Iterator[Gate]:
    for workspace in run.workspaces if tools.require_clean_git else ():
        for repo in run.repos:
            place = Path(workspace.path, repo)
            changes = tools.git.status(Checkout(place, Path(run.repositories[repo])))
            if changes.files:
                more = len(changes.files) - SHOWN + changes.more
                files = ", ".join(clean(name)[:LONGEST] for name in changes.files[:SHOWN]) + (
                    f" and {more} more" if more > 0 else ""
                )
                text = f"workspace {workspace.name} repo {repo} has uncommitted changes: {files}"
                where = shlex.quote(str(place))
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
