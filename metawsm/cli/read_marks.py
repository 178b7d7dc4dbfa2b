"""Telling the daemon which answers an agent has read, after they were printed."""

from __future__ import annotations

import click

from metawsm.cli.output import note
from metawsm.cli.session import Session
from metawsm.cli.text import one_line
from metawsm.client.address import segment
from metawsm.domain.errors import MetawsmError

agent_option = click.option(
    "--agent", "--agent-name", "agent", envvar="METAWSM_AGENT", show_envvar=True, help="The agent."
)


def mark_read(session: Session, thread_id: str, agent: str, first: int, last: int) -> bool:
    """The agent has read a thread's answers from one sequence to another. False, with a note, if that was not stored.

    They are then shown again, which is better than a verb that fails although it has printed the answer.
    """
    path = f"/forum/threads/{segment('thread_id', thread_id)}/read"
    body = {"actor_type": "agent", "actor_name": agent, "from_sequence": first, "up_to_sequence": last}
    try:
        while session.client.call("POST", path, None, body)[1].get("read", {}).get("more"):
            pass
    except MetawsmError as error:
        note(f"metawsm: not marked as read, it comes again: {one_line(error.message)}")
        return False
    return True
