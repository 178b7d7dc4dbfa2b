"""The verbs that act on a run: resume, stop, restart, iterate, merge, close, cleanup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from metawsm.cli.forum_reads import option, reading
from metawsm.cli.run_outcome import act
from metawsm.cli.run_selector import ACTOR, SELECTOR, path_of, selected
from metawsm.cli.run_start import DRY_RUN, FOLLOW
from metawsm.cli.session import Session
from metawsm.cli.stdin import read_stdin

Verb = Callable[..., Any]


def _on_run(*options: Callable[[Verb], Verb]) -> Callable[[Verb], Verb]:
    """A verb with these options, those that choose the run, and those that every action has."""
    return reading(*SELECTOR, *options, DRY_RUN, FOLLOW, *ACTOR)


def _act(
    session: Session,
    verb: str,
    body: dict[str, Any],
    *,
    run_id: str | None,
    ticket: str | None,
    dry_run: bool,
    no_follow: bool,
    actor_type: str | None,
    actor_name: str | None,
    idle: str = "",
) -> int:
    """Send an action on the run that is meant. What was not given is left out; `idle` as for `act`."""
    body |= {"dry_run": dry_run, "actor_type": actor_type or "operator", "actor_name": actor_name}
    given = {name: value for name, value in body.items() if value not in (None, [], False)}
    path = path_of(selected(session, run_id, ticket))
    return act(session, f"{path}/{verb}", given, follow=not no_follow, idle=idle)


@click.command()
@_on_run()
def resume(session: Session, **common: Any) -> int:
    """Let a paused, failed or stopped run go on.

    What was not made is made; agents that failed, ended early or died begin anew, in the same round.

    \b
    metawsm.pyz resume --ticket MET-1
    """
    return _act(session, "resume", {}, **common, idle="nothing to resume: no step was needed")


@click.command()
@_on_run()
def stop(session: Session, **common: Any) -> int:
    """End the sessions of a run; its workspaces stay.

    \b
    metawsm.pyz stop --run-id run-...
    """
    return _act(session, "stop", {}, **common)


@click.command()
@_on_run(option("--agent", "Which agent. May be repeated. [default: all]", multiple=True))
def restart(session: Session, agent: tuple[str, ...], **common: Any) -> int:
    """Start agents of a run anew, in a new round.

    What they had reported no longer counts.

    \b
    metawsm.pyz restart --ticket MET-1 --agent bob
    """
    return _act(session, "restart", {"agents": list(agent)}, **common)


@click.command()
@_on_run(option("--feedback", "What is to be done otherwise, Markdown; - reads stdin.", required=True))
def iterate(session: Session, feedback: str, **common: Any) -> int:
    """Give agents feedback and start them anew, in a new round.

    \b
    metawsm.pyz iterate --ticket MET-1 --feedback "The tests must also run without a network"
    """
    text = read_stdin("--feedback") if feedback == "-" else feedback
    return _act(session, "iterate", {"feedback": text}, **common)


@click.command()
@_on_run()
def merge(session: Session, **common: Any) -> int:
    """Merge the branches of a completed run into their base.

    Nothing is pushed, and nothing is merged unless each branch can be. --dry-run also tells the commits and the
    uncommitted files of each checkout, as last seen.

    \b
    metawsm.pyz merge --ticket MET-1 --dry-run
    """
    return _act(session, "merge", {}, **common)


@click.command()
@_on_run(
    option("--entry", "Line for the tickets' changelogs. [default: one with the run's id]"),
    option("--no-merge", "Leave the branches unmerged.", is_flag=True),
)
def close(session: Session, entry: str | None, no_merge: bool, **common: Any) -> int:
    """Close a completed run.

    Its gates are checked, its documents closed, its branches merged. Each gate that is shut is told with the command
    that mends it, and the exit code is 4.

    \b
    metawsm.pyz close --ticket MET-1
    """
    return _act(session, "close", {"entry": entry, "no_merge": no_merge}, **common)


@click.command()
@_on_run(
    option("--keep-workspaces", "End the sessions only.", is_flag=True),
    option("--force", "Remove workspaces even with work that is nowhere else.", is_flag=True),
)
def cleanup(session: Session, keep_workspaces: bool, force: bool, **common: Any) -> int:
    """Remove the sessions and workspaces of a run.

    Its branches and its history stay. Agents that are still at work are ended, too.

    \b
    metawsm.pyz cleanup --ticket MET-1
    """
    return _act(session, "cleanup", {"keep_workspaces": keep_workspaces, "force": force}, **common)
