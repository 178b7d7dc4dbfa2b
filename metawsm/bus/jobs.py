"""Long effects on the outside: jobs as rows, what a kind of job says about itself, and what it may use."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from metawsm.bus.outside import Checkout, Docs, Git, Launcher, Tmux, Workspaces
from metawsm.domain.errors import NotFound, Obstructed
from metawsm.domain.plain_text import clean
from metawsm.domain.run import Run, RunAgent, Step
from metawsm.domain.run_events import Workspace
from metawsm.domain.run_rules import Gate

Result = Mapping[str, Any]
MOST_SHOWN = 4096  # characters of an error
DOCS = "ttmp"
"""The folder of ticket documents in a repository."""


@frozen
class NewJob:
    """Something long that is to be done once. `key` is its natural identity; jobs of one `lane` run one by one.

    `delay` is how many seconds it waits at least.
    """

    kind: str
    key: str
    lane: str
    payload: Mapping[str, Any]
    run_id: str | None = None
    delay: float = 0.0


@frozen
class Job:
    """A job's row. `attempt` counts from 1; `interrupted`: an earlier process began it and never told how it ended."""

    id: int
    kind: str
    key: str
    lane: str
    run_id: str | None
    payload: Mapping[str, Any]
    attempt: int
    interrupted: bool = False


def step_job(run: Run, step: Step) -> NewJob:
    """The job of a step that begins."""
    key = f"step:{run.run_id}:{step.index}"
    return NewJob(step.kind, key, run.run_id, {"run_id": run.run_id, "step": step.index}, run.run_id)


class Later(Exception):
    """It cannot be done yet: try again after so many seconds. No attempt is counted."""

    def __init__(self, seconds: float, why: str) -> None:
        super().__init__(why)
        self.seconds = seconds


@frozen
class Profile:
    """How an agent of a profile is started, as the policy says."""

    name: str
    runner: str
    base_prompt: str
    skills: tuple[str, ...]
    full_auto: bool
    command: str
    delivery: str


class Reads(Protocol):
    """What jobs may look up. Each call sees the newest commit."""

    def run(self, run_id: str) -> Run:
        """The run. Raises NotFound."""
        ...

    def is_read(self, post_id: str) -> bool:
        """Whether an agent has read an answer."""
        ...

    def answer(self, post_id: str) -> str:
        """The text of an answer. Raises NotFound."""
        ...


@frozen
class JobTools:
    """The outside, as jobs see it. `repo_roots` are where repositories are looked for, `state_folder` is ours.

    `mark(run_id, agent)` is what the agent's sessions are marked with, so that one of another run, project or person
    with the same name is not taken for it.
    """

    git: Git
    tmux: Tmux
    docs: Docs
    workspaces: Workspaces
    launcher: Launcher
    reads: Reads
    profile: Callable[[str], Profile]
    agent_token: Callable[[str, str], str]
    mark: Callable[[str, str], str]
    now: Callable[[], str]
    server: Callable[[], str]
    repo_roots: Sequence[Path]
    state_folder: Path
    require_clean_git: bool = True


@frozen
class JobSpec:
    """One kind of job.

    `do(tools, job)` does it and returns what is to be recorded; doing it twice is harmless. `inspect(tools, job)` looks
    whether an interrupted one was done, and returns its result or None. `record(job, state, error, result)` gives name
    and body of the command that tells the outcome, or None where there is nothing to tell. At most `at_once` run.
    """

    kind: str
    do: Callable[[JobTools, Job], Result]
    record: Callable[[Job, str, str | None, Result | None], tuple[str, dict[str, Any]] | None]
    inspect: Callable[[JobTools, Job], Result | None] | None = None
    at_once: int = 4


def step_of(tools: JobTools, job: Job) -> tuple[Run, Step]:
    """The run and the step that a step's job is about."""
    run = tools.reads.run(str(job.payload["run_id"]))
    step = run.step(int(job.payload["step"]))
    if step is None:
        raise NotFound(f"run {run.run_id} has no step {job.payload['step']}")
    return run, step


def checkout(run: Run, step: Step, workspace: str | None = None) -> Checkout:
    """The checkout a step works in: that of its repository, else of the one with the documents. Raises Obstructed."""
    name, repo = workspace or str(step.args["workspace"]), step.args.get("repo", run.doc_home_repo)
    place = Path(run.workspace(name).path, repo)
    for path in (place.parent, place):
        if path.is_symlink():
            raise Obstructed(f"{path} is a link, which may lead to another's work: remove the link itself")
    if not place.is_dir():
        mend = f"metawsm.pyz cleanup --run-id {run.run_id}"
        raise Obstructed(f"{place} is not there any more: {mend}, and then resume, makes it anew from its branch")
    return Checkout(place, Path(run.repositories[repo]))


def on_branch(tools: JobTools, run: Run, step: Step) -> Checkout:
    """The checkout a step commits in. Raises Obstructed where it is not on the run's branch."""
    place = checkout(run, step)
    gate = strayed(tools, run.workspace(step.args["workspace"]), place)
    if gate is not None:
        raise Obstructed(gate.told(), details={"gates": [{"text": gate.text, "mend": gate.mend}]})
    return place


def strayed(tools: JobTools, workspace: Workspace, place: Checkout) -> Gate | None:
    """What bars a run whose checkout is not on its branch: commits there are not on it. The mend brings them there."""
    found, branch = tools.git.current_branch(place), workspace.branch
    if found == branch:
        return None
    where = f'branch "{clean(found)}"' if found else "no branch"
    text = f'workspace {workspace.name} repo {place.path.name} is on {where}, not on "{clean(branch)}"'
    git, commit = ("git", "-C", str(place.path)), tools.git.newest_commit(place)
    if not tools.git.branch_exists(place.main, branch):
        return Gate(text, shlex.join([*git, "switch", "--create", branch]))
    merge = f" && {shlex.join([*git, 'merge', commit])}" if commit else ""
    return Gate(text, f"{shlex.join([*git, 'switch', branch])}{merge}")


def has_session(tools: JobTools, run: Run, agent: RunAgent) -> bool:
    """Whether the agent's session is there; one of that name that is somebody else's is not it."""
    return tools.tmux.owner(agent.session) == tools.mark(run.run_id, agent.name)


def moment(step: Step) -> datetime:
    """When the step began: the same whenever its job is done again."""
    return datetime.fromisoformat(step.started_at or "")


def shown(text: str) -> str:
    """A tool's words as they can be stored: no NUL, no half characters, and of very many only both ends."""
    text = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN // 2]}\n...\n{text[-MOST_SHOWN // 2 :]}"


def record_step(job: Job, state: str, error: str | None, result: Result | None) -> tuple[str, dict[str, Any]]:
    """The outcome of a step's job."""
    told = {"error": None if error is None else shown(error), "result": dict(result) if result else None}
    body = {"run_id": job.payload["run_id"], "step": job.payload["step"], "state": state, "attempts": job.attempt}
    return "record_step", body | {name: value for name, value in told.items() if value is not None}
