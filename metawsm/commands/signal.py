"""Signal: a control signal of an agent's run, on the one control thread of (run, agent)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import Intake
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain import actions
from metawsm.domain.errors import InvalidFields, StaleSequence
from metawsm.domain.run import session_began
from metawsm.domain.signals import CONTROL_TYPES, STATUSES, check_signal
from metawsm.domain.thread import Thread
from metawsm.domain.values import value_class


@value_class
class Signal:
    """Send a control signal."""

    run_id: str = fields.name("the run", required=True)
    ticket: str = fields.name("the ticket", required=True)
    agent_name: str = fields.name("the agent", required=True)
    payload: dict[str, Any] = fields.json_object(
        "the signal: control_type guidance_request, guidance_answer, completion or validation, and its members",
        required=True,
    )


def check(message: Signal) -> None:
    """The payload's own rules (contract, section 7)."""
    check_signal(message.payload, message.run_id, message.agent_name)


def key(intake: Intake, message: Signal) -> str:
    """The control thread of (run, agent), named now if this is its first signal."""
    return intake.control_thread(message.run_id, message.agent_name, message.ticket)


def handle(work: Work, message: Signal) -> Mapping[str, Any]:
    """Open the control thread with the first signal, then record the signal and what follows from it."""
    signal = check_signal(message.payload, message.run_id, message.agent_name)
    _check_agent(work, message)
    thread_id = str(work.command.thread_id)
    thread = work.find(thread_id)
    if thread is not None and thread.ticket != message.ticket:
        raise InvalidFields(
            f"agent {message.agent_name} in {message.run_id} signals on ticket {thread.ticket}",
            fields={"ticket": [f"must be {thread.ticket}, the ticket of control thread {thread_id}"]},
        )
    if thread is not None:
        work.thread(thread_id)
        if _is_asked_again(work, thread, signal):
            return {"thread": work.view(thread)}
    else:
        thread = _opened(work, message, signal)
    return {"thread": work.view(work.record(thread, actions.signal(thread, work.actor, signal)))}


def _check_agent(work: Work, message: Signal) -> None:
    """A run that is here has its agents, each with its ticket. Signals of another one are the forum's alone."""
    run_id, name = message.run_id, message.agent_name
    ticket = work.ticket_of_agent(run_id, name)
    if ticket is None and (run := work.find_run(run_id)):
        known = ", ".join(agent.name for agent in run.agents)
        raise InvalidFields(f"run {run_id} has no agent {name}", fields={"agent_name": [f"must be one of: {known}"]})
    if ticket not in (None, message.ticket):
        raise InvalidFields(
            f"agent {name} of run {run_id} works on ticket {ticket}",
            fields={"ticket": [f"must be {ticket}, the ticket of agent {name}"]},
        )


def _is_asked_again(work: Work, thread: Thread, signal: Mapping[str, Any]) -> bool:
    """Whether an agent that was begun anew asks, word for word, what its earlier session has asked: once is enough."""
    if signal["control_type"] != "guidance_request" or not thread.open_requests or work.actor.type != "agent":
        return False
    run = work.find_run(signal["run_id"])
    began = session_began(run, signal["agent_name"]) if run else None
    return began is not None and work.asked_before(thread, signal, began)


def _opened(work: Work, message: Signal, signal: Mapping[str, Any]) -> Any:
    actions.check_first_signal(work.actor, signal)
    if work.expected_sequence:
        raise StaleSequence(
            f"thread {work.command.thread_id} has no events yet, but {work.expected_sequence} is expected"
        )
    return work.record(None, [actions.open_control_thread(message.run_id, message.agent_name)])


SPEC = CommandSpec(
    name="signal",
    message=Signal,
    summary="Send a control signal on the control thread of (run, agent)",
    path="/forum/control/signal",
    key=key,
    check=check,
    handle=handle,
    verb=Verb(
        "signal",
        "Send a control signal: ask for guidance, give it, report completion or validation.",
        (
            Flag("--run-id", "run_id", required=True),
            Flag("--ticket", "ticket", required=True),
            Flag("--agent-name", "agent_name", required=True),
            Flag("--type", "payload.control_type", required=True, about=", ".join(CONTROL_TYPES)),
            Flag("--question", "payload.question", stdin=True, about="guidance_request: what has to be decided"),
            Flag("--context", "payload.context", about="guidance_request: what one must know to decide"),
            Flag("--answer", "payload.answer", stdin=True, about="guidance_answer: the decision"),
            Flag("--answers", "payload.answers", about="guidance_answer: the request's post id; default: oldest open"),
            Flag("--summary", "payload.summary", about="completion: what was done"),
            Flag("--status", "payload.status", about=f"validation: {' or '.join(STATUSES)}"),
            Flag("--done-criteria", "payload.done_criteria", about="validation: the criteria that were checked"),
        ),
        actor="agent",
        example='signal --run-id run-1 --ticket MET-1 --agent-name bob --type guidance_request --question "v1 or v2?"',
    ),
)
