"""Query parameters as plain data, and the one reader that applies them: the same data describes them in OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from metawsm.api.exchange import Request
from metawsm.domain.errors import Malformed
from metawsm.domain.states import ACTOR_TYPES, PRIORITIES, STATES
from metawsm.domain.view import timestamp

LARGEST = 2**53 - 1  # what every JSON reader holds exactly
PAGE = 50
LARGEST_PAGE = 500


@frozen
class Parameter:
    """One query parameter: a `text`, a `choice` of a few words, a whole `number` between `least` and `most`, a `time`.

    An empty value counts as absent. A text has at most `most` characters, if that is set.
    """

    name: str
    about: str
    kind: str = "text"
    required: bool = False
    choices: tuple[str, ...] = ()
    default: Any = None
    least: int = 0
    most: int = 0


def number(name: str, about: str, default: int | None, most: int = LARGEST, least: int = 0) -> Parameter:
    """A whole number."""
    return Parameter(name, about, "number", default=default, least=least, most=most)


def time(name: str, about: str) -> Parameter:
    """A moment; its value is as messages hold times: RFC 3339, UTC, microseconds."""
    return Parameter(name, about, "time")


def choice(name: str, about: str, choices: tuple[str, ...], default: str | None = None,
           required: bool = False) -> Parameter:  # fmt: skip
    """One of a few words."""
    return Parameter(name, about, "choice", required, choices, default)


def read(request: Request, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The query's values by name, None or the default for absent ones. Raises Malformed naming every fault at once."""
    query = request.only(*(parameter.name for parameter in parameters))
    faults = {p.name: [fault] for p in parameters if (fault := _fault(p, query.get(p.name)))}
    if faults:
        told = "; ".join(f"query parameter {name} {texts[0]}" for name, texts in faults.items())
        raise Malformed(told, fields=faults)
    return {p.name: _value(p, query.get(p.name)) for p in parameters}


def _fault(parameter: Parameter, text: str | None) -> str | None:
    if text is None:
        return f"is required{_among(parameter)}" if parameter.required else None
    if parameter.kind == "choice":
        return None if text in parameter.choices else f"must be one of: {', '.join(parameter.choices)}"
    if parameter.kind == "number":
        return (
            None
            if _is_number(parameter, text)
            else f"must be a whole number from {parameter.least} to {parameter.most}"
        )
    if parameter.kind == "time":
        return None if _moment(text) else "must be a time such as 2026-11-22T12:00:00Z"
    if parameter.required and not text.strip():
        return "must not be blank"
    return f"must be at most {parameter.most} characters" if 0 < parameter.most < len(text) else None


def _among(parameter: Parameter) -> str:
    return f": {', '.join(parameter.choices)}" if parameter.choices else ""


def _is_number(parameter: Parameter, text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and parameter.least <= int(text) <= parameter.most


def _moment(text: str) -> str | None:
    try:
        moment = datetime.fromisoformat(text)
        return timestamp((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _value(parameter: Parameter, text: str | None) -> Any:
    if text is None:
        return parameter.default
    if parameter.kind == "time":
        return _moment(text)
    return int(text) if parameter.kind == "number" else text


TICKET = Parameter("ticket", "only this ticket")
RUN_ID = Parameter("run_id", "only this run")
FILTERS = (
    TICKET,
    RUN_ID,
    choice("state", "only threads in this state", STATES),
    choice("priority", "only threads of this priority", PRIORITIES),
    Parameter("assignee", "only threads assigned to this name"),
)
VIEWER = (
    choice("viewer_type", "who looks, adds `is_unseen` to each view; goes with viewer_id", ACTOR_TYPES),
    Parameter("viewer_id", "the name of who looks; goes with viewer_type", most=128),
)
LIMIT = number("limit", "most threads of the page", PAGE, LARGEST_PAGE, 1)
CURSOR = Parameter("cursor", "`next_cursor` of the page before; opaque, and good for the same query only")
