"""`run` and `bootstrap`: workspaces, documents and agents for tickets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from metawsm.cli.forum_reads import option, reading
from metawsm.cli.run_outcome import act
from metawsm.cli.run_selector import ACTOR
from metawsm.cli.session import Session

FOLLOW = option("--no-follow", "Return when the daemon has taken it, without waiting for its steps.", is_flag=True)
DRY_RUN = option("--dry-run", "Show the steps, and do nothing.", is_flag=True)
TICKET = click.option(
    "--ticket", multiple=True, required=True, envvar="METAWSM_TICKET", show_envvar=True,
    help="A ticket; each gets a workspace and its agents. May be repeated.",
)  # fmt: skip
PLAN = (
    TICKET,
    option("--repos", "Names of repositories, with commas between; each workspace has all. May be repeated.",
           multiple=True, required=True, metavar="A,B"),
    option("--doc-home-repo", "Which of them holds the tickets' documents. [default: the first]"),
    option("--base-branch", "What work starts from and is merged into. [default: the policy's, a fork's its source's]"),
    option("--strategy", "How a workspace is made: create, fork or reuse. [default: the policy's]"),
    click.option("--workspace", "--source", "source", help="The workspace that is forked, or used again."),
    option("--agent", "Which of the policy's agents. May be repeated. [default: all]", multiple=True),
    option("--run-id", "The run's id. [default: a new one]"),
    option("--paused", "Only plan it; `resume` begins.", is_flag=True),
    DRY_RUN,
    FOLLOW,
    *ACTOR,
)  # fmt: skip


@click.command()
@reading(*PLAN)
def run(session: Session, **values: Any) -> int:
    """Start agents on tickets, without a brief.

    The steps are told as they begin and end, until the agents run. The run is completed when each agent has reported
    completion or its program has ended with 0.

    \b
    metawsm.pyz run --ticket MET-1 --repos api,web
    metawsm.pyz run --ticket MET-1 --repos api --agent bob --dry-run
    """
    return _start(session, "run", values, {})


@click.command()
@reading(
    option("--goal", "What is to be reached; - reads stdin."),
    option("--scope", "What belongs to it, and what does not; - reads stdin."),
    option("--done-criteria", "What must hold at the end; - reads stdin."),
    option("--constraints", "What must not happen; - reads stdin."),
    option("--merge-intent", "How the work is to be merged. [default: default]"),
    *PLAN,
)
def bootstrap(
    session: Session,
    goal: str | None,
    scope: str | None,
    done_criteria: str | None,
    constraints: str | None,
    merge_intent: str | None,
    **values: Any,
) -> int:
    """Start agents on tickets, with a brief of what is to be done.

    What of the brief is not given is asked on the terminal. The run is completed when each agent has reported
    completion and a passed validation; whether it validated the brief's done criteria is looked at by `close`.

    \b
    metawsm.pyz bootstrap --ticket MET-1 --repos api,web
    metawsm.pyz bootstrap --ticket MET-1 --repos api --goal "One schema" --scope "the events" \\
        --done-criteria "tests pass" --constraints "no new dependency"
    """
    from metawsm.cli.run_intake import intake  # with the questions, which `run` does not need

    brief = {"goal": goal, "scope": scope, "done_criteria": done_criteria, "constraints": constraints}
    given = {**brief, "merge_intent": merge_intent}
    return _start(session, "bootstrap", values, intake(given, lambda: _try(session, values)))


def _try(session: Session, values: Mapping[str, Any]) -> None:
    """Let the daemon refuse what it would refuse anyway, before somebody is asked for a brief. Nothing is begun."""
    brief = dict.fromkeys(("goal", "scope", "done_criteria", "constraints"), "?")
    session.client.call("POST", "/runs", body=_body("bootstrap", values) | brief | {"dry_run": True})


def _start(session: Session, mode: str, values: Mapping[str, Any], brief: dict[str, str]) -> int:
    """Send what the flags say, and tell of the steps."""
    return act(session, "/runs", _body(mode, values) | brief, follow=not values["no_follow"])


def _body(mode: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the flags say; what was not given is left out."""
    body = {
        "mode": mode,
        "tickets": list(values["ticket"]),
        "repos": _split(values["repos"]),
        "doc_home_repo": values["doc_home_repo"],
        "base": values["base_branch"],
        "strategy": values["strategy"],
        "source": values["source"],
        "agents": list(values["agent"]),
        "run_id": values["run_id"],
        "paused": values["paused"],
        "dry_run": values["dry_run"],
        "actor_type": values["actor_type"] or "operator",
        "actor_name": values["actor_name"],
    }
    return {name: value for name, value in body.items() if value not in (None, [], False)}


def _split(lists: Iterable[str]) -> list[str]:
    """The names in lists with commas. Raises click.UsageError for blanks in their place."""
    found = [name.strip() for names in lists for name in names.split(",") if name.strip()]
    for name in found:
        if " " in name:
            raise click.UsageError(f"commas separate the names of --repos: {','.join(name.split())}, not '{name}'")
    return found
