"""What can go wrong between a face and the daemon."""

from __future__ import annotations

from typing import Any

from metawsm.domain.errors import MetawsmError


class DaemonUnreachable(MetawsmError):
    """No daemon answered, or its answer was cut off; the message names the address and what to do."""

    code = "unreachable"


class BadAnswer(MetawsmError):
    """Something answered that does not speak as the daemon does: broken HTTP, no JSON, too much."""

    code = "bad_answer"


class ApiError(MetawsmError):
    """The daemon refused: `status` and the members of its error object.

    `body` is the whole answer as it came, `answer` its object. `code` is the daemon's, for example `not_found`;
    `unknown` when the answer had no error object. `details` holds the error's details and, for a conflict, the current
    view as `thread`.
    """

    code: str  # type: ignore[misc] # each error has the code that the daemon gave it

    def __init__(self, status: int, body: bytes, answer: dict[str, Any]) -> None:
        """`answer` is the JSON object in `body`, or an empty one."""
        error = _object(answer.get("error"))
        super().__init__(
            str(error.get("message") or f"the daemon answered with status {status}"),
            fields={name: texts for name, texts in _object(error.get("fields")).items() if isinstance(texts, list)},
            details=_object(error.get("details")) | {name: answer[name] for name in ("thread",) if name in answer},
        )
        self.status = status
        self.body = body
        self.answer = answer
        self.code = str(error.get("code") or "unknown")
        self.correlation_id = str(error.get("correlation_id") or "")


def _object(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}
