"""What an event of the Go program means here: its row becomes an envelope and a fact of ours.

Source of the tables, columns and payloads: the public repository kball/metawsm at commit
e45616dc7ebcbd6bf947f6cf30f3efc18cd16cf8 (files internal/store/sqlite.go and sqlite_forum.go), and 05d88afe for the
control signals. The rules for what does not fit are in docs/decisions/0010-import.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from attrs import frozen

from metawsm.domain import names
from metawsm.domain.envelope import Envelope
from metawsm.domain.errors import InvalidFields
from metawsm.domain.events import (
    Assigned,
    ControlSignal,
    Fact,
    PostAdded,
    PriorityChanged,
    StateChanged,
    ThreadClosed,
    ThreadOpened,
    with_post_id,
)
from metawsm.domain.signals import check_signal
from metawsm.domain.states import ACTOR_TYPES, PRIORITIES, RESPONDERS, STATES
from metawsm.domain.thread import Thread

EVENT_COLUMNS = (
    "sequence", "event_id", "event_type", "occurred_at", "thread_id", "run_id", "ticket", "agent_name", "actor_type",
    "actor_name", "correlation_id", "causation_id", "payload_json",
)  # fmt: skip
KNOWN_BY = "import"
_IDS = {"event_id", "thread_id", "run_id", "ticket", "agent_name", "correlation_id", "causation_id"}
CUT = "\n[cut by the import; the whole text is in the backup]"

_CONTROL_ID = re.compile(r"fctrl-[a-z0-9-]{1,200}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
Row = Sequence[Any]
Tell = Callable[[str, str, str, str], None]
"""Hears of whatever is not carried as it was: kind, table, which row, what about it."""


class LeftOut(Exception):
    """This row cannot be carried; the text says why. `group` names the rows that are told as one, being many alike."""

    def __init__(self, why: str, group: str | None = None) -> None:
        super().__init__(why)
        self.group = group


def text_of(value: Any) -> str:
    """A text column read as bytes. Bytes that are no UTF-8, NUL and lone surrogates become the replacement mark."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return _storable(text)


def id_of(value: bytes | None) -> str:
    """An id read as bytes. One whose bytes cannot be kept gets a digest of them, so that two never become one."""
    text, data = text_of(value), value or b""
    return text if text.encode() == data else f"{text}-{sha256(data).hexdigest()[:16]}"


def _storable(text: str) -> str:
    if names.text_fault(text) is None:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@frozen
class Carrier:
    """Carries rows over. `answered` holds the ids of posts that an `answered` state followed; `tell` hears changes."""

    answered: frozenset[str]
    tell: Tell

    def event(self, row: Row, thread: Thread | None, before: str) -> tuple[Envelope, Fact]:
        """Envelope and fact of a `forum_events` row in the order of EVENT_COLUMNS.

        `thread` is the thread as the events before left it, `before` the time of the last event, for a row whose own
        time cannot be read. Raises LeftOut.
        """
        named = zip(EVENT_COLUMNS[1:], row[1:], strict=True)
        values = {name: id_of(value) if name in _IDS else text_of(value) for name, value in named}
        make = _FACTS.get(values["event_type"])
        if make is None:
            raise _unknown(values["event_type"])
        if (thread is None) != (make is _opened):
            raise LeftOut("its thread was never opened" if thread is None else "its thread was opened before")
        fact = make(self, values, _payload(values["payload_json"]), thread)
        return self._envelope(values, fact, before), with_post_id(fact, values["event_id"])

    def _envelope(self, values: Mapping[str, str], fact: Fact, before: str) -> Envelope:
        event_id = values["event_id"]
        return Envelope(
            event_id=event_id,
            event_type=fact.TYPE,
            event_version=fact.VERSION,
            occurred_at=self.moment(values["occurred_at"], before, "forum_events", event_id),
            ticket=self.name("ticket", values["ticket"]),
            actor_type=actor_type(values["actor_type"]),
            correlation_id=values["correlation_id"] or event_id,
            thread_id=self.thread_id(values["thread_id"]),
            run_id=self.name("run", values["run_id"]) if values["run_id"] else None,
            agent_name=self.name("agent", values["agent_name"]) if values["agent_name"] else None,
            actor_name=values["actor_name"] or None,
            actor_known_by=KNOWN_BY,
            causation_id=values["causation_id"] or None,
        )

    def moment(self, text: str, instead: str, table: str, row: str) -> str:
        """A time as we write it: UTC, microseconds. Theirs are local with an offset, to the second."""
        try:
            then = datetime.fromisoformat(text)
            if then.tzinfo is None:
                then = then.replace(tzinfo=UTC)
            return then.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        except (ValueError, OverflowError):
            self.tell("changed", table, row, f"its time {text!r} cannot be read; {instead} stands for it")
            return instead

    def name(self, what: str, text: str) -> str:
        """A name in our grammar: the same where it fits, else a fitting one that no other name gets."""
        if names.name_fault(text) is None:
            return text
        told = f"{_NOT_IN_NAMES.sub('-', text).strip('-._')[:50] or 'unnamed'}-{_mark(text)}"
        self.tell("renamed", what, text, f"is {told} here")
        return told

    def thread_id(self, text: str) -> str:
        """A thread's id: the same where our grammar allows it, else a fitting one."""
        if names.thread_id_fault(text) is None or _CONTROL_ID.fullmatch(text):
            return text
        told = f"fthr-{names.slug(text)[:48].strip('-')}-{_mark(text)}"
        self.tell("renamed", "thread", text, f"is {told} here")
        return told

    def cut(self, text: str, limit: int, event_id: str) -> str:
        """A text of at most `limit` bytes of UTF-8."""
        data = text.encode()
        if len(data) <= limit:
            return text
        self.tell("changed", "forum_events", event_id, f"a text of {len(data)} bytes was cut to {limit}")
        return data[: limit - len(CUT)].decode("utf-8", "ignore") + CUT


def _unknown(event_type: str) -> LeftOut:
    if event_type.startswith("forum.integration."):
        return LeftOut("wishes to the outside, which nothing there ever heard", group=event_type)
    return LeftOut(f"events of type {event_type or '(none)'} are not known here")


def actor_type(text: str) -> str:
    """One of our actor types. Raises LeftOut."""
    known = text.strip().lower()
    if known not in ACTOR_TYPES:
        raise LeftOut(f"actor type {text!r} is not known here")
    return known


def _mark(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]


def _payload(text: str) -> dict[str, str]:
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LeftOut(f"its payload is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise LeftOut("its payload is not a JSON object")
    return {name: text_of(value) for name, value in payload.items() if isinstance(value, str)}


def _opened(carrier: Carrier, values: Mapping[str, str], payload: Mapping[str, str], _: Thread | None) -> Fact:
    event_id = values["event_id"]
    title, priority = payload.get("title", ""), payload.get("priority", "").lower() or "normal"
    if len(title) > names.TITLE_LIMIT:
        carrier.tell("changed", "forum_events", event_id, f"a title of {len(title)} characters was cut")
        title = title[: names.TITLE_LIMIT - 1] + "\u2026"
    if priority not in PRIORITIES:
        carrier.tell("changed", "forum_events", event_id, f"priority {priority!r} is not known here; normal instead")
        priority = "normal"
    return ThreadOpened(title, carrier.cut(payload.get("body", ""), names.BODY_LIMIT, event_id), priority)


def _posted(carrier: Carrier, values: Mapping[str, str], payload: Mapping[str, str], _: Thread | None) -> Fact:
    """Theirs does not say whether a post is an answer: it is one when the state `answered` followed from it."""
    is_answer = values["event_id"] in carrier.answered and actor_type(values["actor_type"]) in RESPONDERS
    body = carrier.cut(payload.get("body", ""), names.BODY_LIMIT, values["event_id"])
    return PostAdded(body, "answer" if is_answer else "post")


def _signalled(carrier: Carrier, values: Mapping[str, str], payload: Mapping[str, str], thread: Thread | None) -> Fact:
    """Their signal is JSON text in the body of a post. One that is not right stays a post."""
    try:
        signal = _signal(carrier, payload.get("body", ""), values)
    except (InvalidFields, LeftOut) as error:
        carrier.tell("changed", "forum_events", values["event_id"], f"carried as a post, not as a signal: {error}")
        return _posted(carrier, values, payload, thread)
    if signal["control_type"] != "guidance_answer" or thread is None or not thread.open_requests:
        return ControlSignal(signal)
    *others, newest = thread.open_requests
    for other in others:
        carrier.tell("stays open", "forum_posts", other, f"a guidance request that {newest} replaced there; answer it")
    return ControlSignal(signal, answers=newest)


def _signal(carrier: Carrier, body: str, values: Mapping[str, str]) -> dict[str, Any]:
    members: dict[str, Any] = {**_payload(body), "schema_version": 1}
    if "status" in members:
        members["status"] = members["status"].strip().lower()
    signal = check_signal(members, values["run_id"], values["agent_name"])
    run, agent = carrier.name("run", values["run_id"]), carrier.name("agent", values["agent_name"])
    return signal | {"run_id": run, "agent_name": agent}


def _assigned(carrier: Carrier, values: Mapping[str, str], payload: Mapping[str, str], _: Thread | None) -> Fact:
    if payload.get("to_assignee_name"):
        actor_type(payload.get("to_assignee_type", ""))
    return Assigned(
        from_assignee_type=payload.get("from_assignee_type", ""),
        from_assignee_name=payload.get("from_assignee_name", ""),
        to_assignee_type=payload.get("to_assignee_type", ""),
        to_assignee_name=payload.get("to_assignee_name", ""),
        note=carrier.cut(payload.get("note", ""), names.NOTE_LIMIT, values["event_id"]) or None,
    )


def _moved(carrier: Carrier, values: Mapping[str, str], payload: Mapping[str, str], thread: Thread | None) -> Fact:
    to_state = _known(payload, "to_state", STATES)
    return StateChanged(_left(payload, "from_state", STATES, thread.state if thread else ""), to_state)


def _closed(carrier: Carrier, values: Mapping[str, str], payload: Mapping[str, str], thread: Thread | None) -> Fact:
    return ThreadClosed(_left(payload, "from_state", STATES, thread.state if thread else ""))


def _ranked(carrier: Carrier, values: Mapping[str, str], payload: Mapping[str, str], thread: Thread | None) -> Fact:
    to_priority = _known(payload, "to_priority", PRIORITIES)
    before = _left(payload, "from_priority", PRIORITIES, thread.priority if thread else "")
    return PriorityChanged(before, to_priority)


def _known(payload: Mapping[str, str], member: str, known: Sequence[str]) -> str:
    value = payload.get(member, "").strip().lower()
    if value not in known:
        raise LeftOut(f"{member} {value!r} is not known here")
    return value


def _left(payload: Mapping[str, str], member: str, known: Sequence[str], here: str) -> str:
    """What a thread was before: as they say, or as it is here after a change that was left out."""
    value = payload.get(member, "").strip().lower()
    return value if value in known else here


_FACTS: dict[str, Callable[[Carrier, Mapping[str, str], Mapping[str, str], Thread | None], Fact]] = {
    ThreadOpened.TYPE: _opened,
    PostAdded.TYPE: _posted,
    ControlSignal.TYPE: _signalled,
    Assigned.TYPE: _assigned,
    StateChanged.TYPE: _moved,
    ThreadClosed.TYPE: _closed,
    PriorityChanged.TYPE: _ranked,
}
