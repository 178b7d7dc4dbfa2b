"""Errors as one or two lines on stderr: what happened, to what, what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

from metawsm.cli.text import one_line
from metawsm.client.token import Found
from metawsm.domain.errors import MetawsmError

FOR_PROGRAMS = ": send `Authorization:"
"""Where the daemon begins to tell programs what the hint tells people."""
NO_TOKEN = Found(None, "")
SHARED_FLAGS = {
    "query": "--query", "type": "--type", "server": "--server", "wait": "--wait", "tickets": "--ticket",
    "agents": "--agent", "base": "--base-branch", "source": "--workspace",
}  # fmt: skip


class Failure(Exception):
    """An error on its way out of a verb, with the flags that its fields came from and the token that was sent.

    `agents` says that an agent may do what was tried.
    """

    def __init__(self, error: MetawsmError, flags: Mapping[str, str], sent: Found, *, agents: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.flags = flags
        self.sent = sent
        self.agents = agents


def lines(error: MetawsmError, flags: Mapping[str, str], sent: Found = NO_TOKEN, *, agents: bool = False) -> list[str]:
    """The lines for an error. `flags` maps names of fields to the flags of the verb in use; `agents` as in Failure."""
    if error.fields and error.code != "policy":  # whose message names the file and every key in it
        faults = [_fault(_flag(name, flags), text) for name, texts in error.fields.items() for text in texts]
        first = f"invalid values: {'; '.join(faults)}"
    else:
        first = error.message.partition(FOR_PROGRAMS)[0]
    hint = _hint(error, sent, agents)
    return [f"metawsm: {one_line(first)}", *([f"  {one_line(hint)}"] if hint else [])]


def _fault(flag: str, text: str) -> str:
    """The fault of a flag. Of one that may be given several times, people count from one; REST counts items from 0."""
    counted = re.sub(r"^item (\d+)", lambda item: f"number {int(item[1]) + 1}", text) if flag.startswith("--") else text
    return f"{flag} {counted}"


def system_line(error: OSError) -> str:
    """What the system refused; without a name it is the output, which is all that we write to without one."""
    where = error.filename if error.filename is not None else "standard output"
    return one_line(f"metawsm: {where}: {(error.strerror or str(error)).lower()}")


def bug_line(error: Exception) -> str:
    """An error that nobody thought of, and where in our text it came up."""
    import traceback

    home = Path(__file__).parents[1]
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [f"{path.relative_to(home)}:{line}" for path, line in frames if path.is_relative_to(home)]
    return one_line(f"metawsm: unexpected {type(error).__name__} in {places[-1]}: {error}; please report this line")


def _flag(name: str, flags: Mapping[str, str]) -> str:
    """The flag of a field, or the name of the field where there is no flag."""
    known = {**SHARED_FLAGS, **flags}
    return known.get(name) or known.get(name.replace("-", "_")) or name


def _hint(error: MetawsmError, sent: Found, agents: bool) -> str:
    """What to do about it, for errors whose message cannot know."""
    if error.code in ("not_allowed", "unauthenticated") and "token" in error.message:
        return _token_hint(error, sent, agents)
    if error.code == "not_allowed" and "commands runs" in error.message:
        return "agents ask with `metawsm.pyz forum signal --type guidance_request`; people say --actor-type operator"
    if error.code == "stale_sequence":
        return "somebody was faster; look with `metawsm.pyz forum thread` and repeat"
    if error.code == "outcome_unknown" and error.details.get("command_id"):
        return f"look with `metawsm.pyz forum command --command-id {error.details['command_id']}`"
    correlation = getattr(error, "correlation_id", "") if error.code == "internal" else ""
    return f"the daemon's log says more under correlation id {correlation}" if correlation else ""


def _token_hint(error: MetawsmError, sent: Found, agents: bool) -> str:
    """Where the token that was refused is from, and where the right one is."""
    right = "run from the daemon's folder, or set METAWSM_TOKEN_FILE to its .metawsm/token (beside its database)"
    if error.code == "unauthenticated" and sent.token:
        if not sent.named:
            return f"the token of {sent.source} was used and is another one: {right}"
        variable = "METAWSM_TOKEN" if sent.source == "METAWSM_TOKEN" else f"METAWSM_TOKEN_FILE={sent.source}"
        return f"{variable} was used and is another one: correct it, or unset it and run from the daemon's folder"
    if "act as agent" not in error.message:
        return right
    other = "agents need none: --actor-type agent" if agents else "a project of its own: `metawsm.pyz serve` there"
    return f"{right}; {other}"


def usage_line(error: click.ClickException) -> str:
    """A mistake in the command line, with where to read on."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "metawsm.pyz"
    told = one_line(error.format_message())
    if context is not None and told.startswith("Got unexpected extra argument"):
        told += _flags_for_words(context.command)
    return f"metawsm: {told} (see `{path} --help`)"


def _flags_for_words(command: click.Command) -> str:
    """How runs and threads are named, where somebody gave one without a flag."""
    known = {name for parameter in command.params for name in parameter.opts}
    if "thread" in known:  # an argument
        return "; are there quotes missing?"
    flags = [name for name in ("--thread-id", "--ticket", "--run-id") if name in known]
    return f"; name it with {' or '.join(flags)}" if flags else ""
