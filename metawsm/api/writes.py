"""The endpoint of every command: one function for all routes of the catalogue."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import frozen

from metawsm.api import errors
from metawsm.api.access import Access
from metawsm.api.exchange import Answer, Request
from metawsm.api.operations import BASE
from metawsm.bus.dispatch import Outcome, read_message
from metawsm.bus.specs import CommandSpec
from metawsm.bus.submit import Prepared, Submitter
from metawsm.domain.errors import InvalidFields, Malformed

KEY_LIMIT = 128
LONGEST_WAIT = 30.0  # seconds
DEFAULT_WAIT = 5.0


class Reply(Protocol):
    """A command's id and its outcome, if that can be told yet."""

    @property
    def command_id(self) -> str:
        """The command's id."""
        ...

    @property
    def outcome(self) -> Outcome | None:
        """What became of it; None while it is queued, or cannot be read everywhere yet."""
        ...

    @property
    def status(self) -> str:
        """Where it stands while there is no outcome to tell."""
        ...


class Commands(Protocol):
    """The command path as the API needs it."""

    submitter: Submitter

    def send(self, prepared: Prepared, wait: float) -> Reply:
        """Accept durably and wait up to `wait` seconds for the outcome."""
        ...


@frozen
class Writes:
    """Turns requests into commands and outcomes into answers."""

    access: Access
    commands: Commands

    def endpoint(self, spec: CommandSpec, request: Request) -> Answer:
        """One write. Raises MetawsmError for everything that keeps the command from being accepted."""
        credential = self.access.credential(request)
        self.access.check_write(request)
        wait = _wait(request)
        key = _key(request)
        body = _with_actor(spec, request.json_object())
        subject = request.path.get(spec.subject)
        try:
            actor = self.access.actor(credential, body)
        except InvalidFields as nobody:
            raise _every_fault(spec, body, subject, nobody) from None
        scope = f"{credential.scope} {request.environ['PATH_INFO']}"
        prepared = self.commands.submitter.prepare(spec, body, subject, actor, scope, key)
        credential.check_body(prepared.message)
        reply = self.commands.send(prepared, wait)
        return answer(reply.command_id, reply.outcome, reply.status)


def _with_actor(spec: CommandSpec, body: dict[str, Any]) -> dict[str, Any]:
    """The body, with the actor that the command's own fields name where none is given."""
    if spec.actor_fields is None or body.get("actor_type") is not None:
        return body
    kind, name = (body.get(field) for field in spec.actor_fields)
    return {**body, "actor_type": kind, "actor_name": body.get("actor_name", name)}


def _every_fault(spec: CommandSpec, body: dict[str, Any], subject: str | None, nobody: InvalidFields) -> InvalidFields:
    """The missing actor, and whatever else is wrong with the body."""
    try:
        read_message(spec, body, subject)
    except InvalidFields as others:
        faults = others.fields | nobody.fields
        return InvalidFields(f"faulty field(s): {', '.join(faults)}", fields=faults)
    return nobody


def answer(command_id: str, outcome: Outcome | None, status: str) -> Answer:
    """The HTTP answer of an outcome; 202 with its status and a place to look while there is none."""
    if outcome is None:
        where = f"{BASE}/forum/commands/{command_id}"
        return Answer(202, {"command": {"id": command_id, "status": status}}, (("Location", where),))
    if outcome.kind == "applied":
        return Answer(outcome.status, outcome.body_json.encode() if outcome.body_json else outcome.body or {})
    body = errors.body_of(outcome.code, outcome.message, command_id, outcome.faults, outcome.details)
    return Answer(errors.status_of(outcome.code), errors.encoded(body))


def _wait(request: Request) -> float:
    if not request.environ.get("QUERY_STRING"):
        return DEFAULT_WAIT
    text = request.only("wait").get("wait")
    if text is None:
        return DEFAULT_WAIT
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT:
        told = f"must be a number of seconds from 0 to {LONGEST_WAIT:g}"
        raise Malformed(f"query parameter wait {told}, not {text[:40]!r}", fields={"wait": [told]})
    return seconds


def _key(request: Request) -> str | None:
    key = request.header("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not (0 < len(key) <= KEY_LIMIT and key.isprintable() and key.isascii()):
        raise Malformed(f"the header Idempotency-Key must be 1 to {KEY_LIMIT} printable ASCII characters")
    return key
