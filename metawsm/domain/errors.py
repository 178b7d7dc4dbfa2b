"""The one tree of errors. A class per stable code; edges turn the code into an HTTP status or an exit code."""

from __future__ import annotations

from typing import Any, ClassVar


class MetawsmError(Exception):
    """Something a person or program should hear about.

    `code` is stable and public. `fields` names faulty input fields: {field: [what is wrong, ...]}.
    `details` are further members for the error object (for example the current thread view of a conflict).
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        fields: dict[str, list[str]] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields or {}
        self.details = details or {}


class Rejected(MetawsmError):
    """The domain says no: recorded as the command's outcome, told to the caller, never retried."""


class NotFound(Rejected):
    """The thing named does not exist."""

    code = "not_found"


class InvalidFields(Rejected):
    """One or more fields of a well-formed object are missing, unknown or wrong."""

    code = "invalid_fields"


class NotAllowed(Rejected):
    """This actor may not do this."""

    code = "not_allowed"


class AlreadyExists(Rejected):
    """A chosen id is taken."""

    code = "already_exists"


class IllegalTransition(Rejected):
    """The state of the thread, the run or the dead letter does not allow the change."""

    code = "illegal_transition"


class CloseBlocked(Rejected):
    """A run may not be closed yet; `details["gates"]` has what is missing, each with the command that mends it."""

    code = "close_blocked"


class ThreadClosed(Rejected):
    """The thread is closed; reopen it first."""

    code = "thread_closed"


class StaleSequence(Rejected):
    """`expected_sequence` is not the thread's version: somebody was faster. `details["thread"]` is the current view."""

    code = "stale_sequence"


class Malformed(MetawsmError):
    """The request itself cannot be read: not JSON, not an object, a bad cursor or query value."""

    code = "malformed"


class Undecodable(MetawsmError):
    """A message from the transport cannot be decoded; it belongs to the dead letters."""

    code = "undecodable"


class KeyReused(MetawsmError):
    """The idempotency key was used before with another body."""

    code = "idempotency_key_reused"


class Unauthenticated(MetawsmError):
    """A credential is needed or the one given is not known."""

    code = "unauthenticated"


class Unavailable(MetawsmError):
    """A part we depend on does not work now; nothing was stored; try again later."""

    code = "unavailable"


class Overloaded(Unavailable):
    """A limit of undone work is reached; nothing was stored."""

    code = "overloaded"


class OutcomeUnknown(MetawsmError):
    """A commit's fate is not known; `details["command_id"]` lets the caller look."""

    code = "outcome_unknown"


class PolicyError(MetawsmError):
    """The policy file or an override has a fault; the message names the key's path."""

    code = "policy"


class Refused(MetawsmError):
    """The program refuses to start or to touch something; the message says what to change."""

    code = "refused"


class OutsideError(MetawsmError):
    """Something outside (a program, a repository, a folder) did not do what was asked."""

    code = "outside"


class ProgramMissing(OutsideError):
    """A program is not installed, or cannot be started."""

    code = "program_missing"


class ProgramFailed(OutsideError):
    """A program ended with a failure; `details["exit_code"]` is negative when a signal ended it."""

    code = "program_failed"


class TimedOut(OutsideError):
    """A program took too long and was ended."""

    code = "program_timed_out"


class Obstructed(OutsideError):
    """What is there stands in the way (a dirty tree, a taken name): a repeat does not help before it is changed."""

    code = "obstructed"


class MergeConflict(Obstructed):
    """Two branches changed the same; `details["files"]` are the files."""

    code = "merge_conflict"
