"""Which run a verb is about: the one that is named, or the latest of a ticket; and who acts on it."""

from __future__ import annotations

import click

from metawsm.cli.forum_reads import option
from metawsm.cli.session import Session
from metawsm.client.address import segment
from metawsm.domain.errors import NotFound

SELECTOR = (
    option("--run-id", "The run.", envvar="METAWSM_RUN_ID"),
    option("--ticket", "Instead of a run: the latest of this ticket.", envvar="METAWSM_TICKET"),
)
ACTOR = (
    option("--actor-type", "Who acts: operator (default) or human.", envvar="METAWSM_ACTOR_TYPE"),
    option("--actor-name", "Name of who acts.", envvar="METAWSM_ACTOR_NAME"),
)


def selected(session: Session, run_id: str | None, ticket: str | None) -> str:
    """The id of the run that is meant. With a run and a ticket, the run must be one of the ticket.

    Raises click.UsageError, NotFound for a ticket without runs, ApiError for a run that there is not.
    """
    if run_id and ticket:
        _check_ticket(session, run_id, ticket)
        return run_id
    if run_id:
        return run_id
    if not ticket:
        raise click.UsageError("say which run: --run-id RUN, or --ticket TICKET for its latest")
    runs = session.get("/runs", {"ticket": ticket, "limit": 1})["runs"]
    if not runs:
        raise NotFound(f"ticket {ticket} has no run; begin one with `metawsm.pyz bootstrap --ticket {ticket} ...`")
    return str(runs[0]["run_id"])


def _check_ticket(session: Session, run_id: str, ticket: str) -> None:
    tickets = session.get(path_of(run_id))["run"]["tickets"]
    if ticket not in tickets:
        named = " and ".join(f"{flag} ({variable})" for flag, variable in _given())
        raise click.UsageError(
            f"run {run_id} is of ticket {', '.join(tickets)}, not {ticket}: leave out one of {named}"
        )


def _given() -> list[tuple[str, str]]:
    """Both flags, and for each whether it was typed or came from its variable."""
    context = click.get_current_context()
    sources = {name: context.get_parameter_source(name) for name in ("run_id", "ticket")}
    typed = {name: source is click.core.ParameterSource.COMMANDLINE for name, source in sources.items()}
    return [
        ("--run-id", "given" if typed["run_id"] else "from METAWSM_RUN_ID"),
        ("--ticket", "given" if typed["ticket"] else "from METAWSM_TICKET"),
    ]


def path_of(run_id: str) -> str:
    """The route of a run."""
    return f"/runs/{segment('run_id', run_id)}"
