"""What the shell is told at the end, and the one table that leads from an error's code to it."""

from __future__ import annotations

from enum import IntEnum

from metawsm.domain.errors import MetawsmError


class ExitCode(IntEnum):
    """The exit codes of the contract, section 10."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    NOT_ALLOWED = 5
    UNREACHABLE = 6
    INVALID = 7
    QUEUED = 75
    INTERRUPTED = 130


BY_CODE = {
    "not_found": ExitCode.NOT_FOUND,
    "already_exists": ExitCode.CONFLICT,
    "illegal_transition": ExitCode.CONFLICT,
    "close_blocked": ExitCode.CONFLICT,
    "thread_closed": ExitCode.CONFLICT,
    "stale_sequence": ExitCode.CONFLICT,
    "obstructed": ExitCode.CONFLICT,
    "merge_conflict": ExitCode.CONFLICT,
    "not_allowed": ExitCode.NOT_ALLOWED,
    "unauthenticated": ExitCode.NOT_ALLOWED,
    "unreachable": ExitCode.UNREACHABLE,
    "bad_answer": ExitCode.UNREACHABLE,
    "invalid_fields": ExitCode.INVALID,
    "malformed": ExitCode.INVALID,
    "idempotency_key_reused": ExitCode.INVALID,
    "policy": ExitCode.INVALID,
}
BY_STATUS = {
    400: ExitCode.INVALID,
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    413: ExitCode.INVALID,
    415: ExitCode.INVALID,
    422: ExitCode.INVALID,
}
"""For codes of a newer daemon, which this table does not know."""


def exit_code(error: MetawsmError) -> ExitCode:
    """The exit code for an error of ours or of the daemon."""
    known = BY_CODE.get(error.code)
    return known or BY_STATUS.get(getattr(error, "status", 0), ExitCode.FAILED)
