"""What may be done next with a run: the commands that lead on from what has happened to it."""

from __future__ import annotations

from collections.abc import Sequence

from metawsm.domain.run import FIND_REPOSITORIES, Run, RunAgent, Step, is_complete
from metawsm.domain.run_plan import MERGE_BRANCH, REMOVE_WORKSPACE, removed
from metawsm.domain.run_rules import mend_of_merge

_NEXT: dict[str, tuple[str, ...]] = {
    "created": ("watch",),
    "planning": ("watch",),
    "running": ("watch", "stop"),
    "awaiting_guidance": (),
    "paused": ("resume", "cleanup"),
    "failed": ("resume", "restart", "cleanup"),
    "stopping": ("watch",),
    "stopped": ("resume", "cleanup"),
    "completed": ("iterate --feedback <feedback>", "merge --dry-run", "merge", "close"),
    "closing": ("watch",),
    "closed": ("cleanup",),
}
_CLEANED = {"closed": (), "stopped": ("resume",)}
"""When the workspaces are gone already. A merge or a close makes them anew."""


def hints(run: Run) -> list[str]:
    """The commands that lead on: open questions first, then what mends a failure, then what the state allows."""
    return list(dict.fromkeys([*_answers(run), *_following(run)]))


def _answers(run: Run) -> list[str]:
    """An agent that was ended reads nothing any more, unless its run goes on."""
    if run.state in ("stopping", "stopped", "closed"):
        return []
    gone = removed(run)
    return [
        f"metawsm.pyz forum signal --run-id {run.run_id} --ticket {agent.ticket} --agent-name {agent.name}"
        " --type guidance_answer --answer <answer>"
        for agent in run.agents
        if agent.open_requests and agent.workspace not in gone
    ]


def _following(run: Run) -> list[str]:
    failed = run.failed_step if run.busy is None else None
    if failed is not None and failed.kind == REMOVE_WORKSPACE:
        ways = {"failed": ("resume",), "completed": _NEXT["completed"]}.get(run.state, ())
        return _verbs(run, *ways, "cleanup --force")
    if failed is not None and run.state == "failed" and failed.kind == FIND_REPOSITORIES:
        anew = f"metawsm.pyz {run.mode} --ticket {' --ticket '.join(run.tickets)} --repos <names>"
        return [anew, *_verbs(run, "resume", "cleanup")]  # its own are what they are; resume, when they are there
    if failed is not None and run.state == "completed" and failed.action in ("merge", "close"):
        return [*_mends(run, failed), *_verbs(run, failed.action, "iterate --feedback <feedback>")]
    return _verbs(run, *_by_state(run))


def _by_state(run: Run) -> Sequence[str]:
    """What the state allows, without what is done already."""
    if run.state in _CLEANED and _is_cleaned(run):
        return _CLEANED[run.state]
    if run.state == "completed" and _newest_is_done(run, "merge"):
        return ("close", "iterate --feedback <feedback>")
    if run.state in ("running", "awaiting_guidance") and any(_has_left(run, agent) for agent in run.agents):
        return ("resume", *_NEXT[run.state])
    return _NEXT[run.state]


def _verbs(run: Run, *verbs: str) -> list[str]:
    """Each verb with the run behind its name."""
    parts = (verb.partition(" ") for verb in verbs)
    return [f"metawsm.pyz {name} --run-id {run.run_id}{blank}{flags}" for name, blank, flags in parts]


def _mends(run: Run, failed: Step) -> list[str]:
    """The commands that mend a merge that failed, or the gates that a closing found shut."""
    details = failed.result or {}
    if failed.kind == MERGE_BRANCH:
        mend = mend_of_merge(run, failed.args["workspace"], failed.args["repo"], details)
        return [mend] if mend else []
    return [gate["mend"] for gate in details.get("gates", ())]


def _is_cleaned(run: Run) -> bool:
    """Whether a cleanup would find nothing; the workspace of somebody else (`reuse`) is never removed."""
    gone = removed(run)
    reused = run.strategy == "reuse" and _newest_is_done(run, "cleanup")
    return reused or all(workspace.name in gone for workspace in run.workspaces)


def _newest_is_done(run: Run, action: str) -> bool:
    """Whether the newest action is this one, with every step of it done."""
    newest = run.steps[run.action_from - 1 :]
    return bool(newest) and all((step.action, step.state) == (action, "done") for step in newest)


def _has_left(run: Run, agent: RunAgent) -> bool:
    """Whether it is gone and had more to do: nothing goes on without a new session of it."""
    return agent.state in ("stopped", "dead", "failed") and not is_complete(run, agent)
