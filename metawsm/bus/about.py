"""What a command is about, for the head of its message: the ticket, run and agent of its thread or run."""

from __future__ import annotations

from typing import Any

from metawsm.bus.ports import Db
from metawsm.bus.specs import RUN, CommandSpec
from metawsm.bus.work import Store


def about(store: Store, db: Db, spec: CommandSpec, key: str, message: Any) -> dict[str, Any]:
    """The envelope's members `ticket`, `thread_id`, `run_id` and `agent_name`; the ticket is empty if there is none."""
    if spec.subject == RUN:
        tickets = getattr(message, "tickets", None)
        return {"ticket": tickets[0] if tickets else store.ticket_of_run(db, key), "run_id": key}
    named = message if getattr(message, "ticket", None) is not None else store.find_thread(db, key)
    if named is None:
        return {"ticket": "", "thread_id": key}
    return {"ticket": named.ticket, "thread_id": key, "run_id": named.run_id, "agent_name": named.agent_name}
