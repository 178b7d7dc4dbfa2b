"""The grammar of names and the limits of texts. Source: contract, section 1."""

from __future__ import annotations

import re

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
THREAD_ID_PATTERN = r"fthr-[a-z0-9-]{1,60}"
TITLE_LIMIT = 300  # characters
BODY_LIMIT = 64 * 1024  # bytes of UTF-8
NOTE_LIMIT = 4 * 1024  # bytes of UTF-8

_NAME = re.compile(NAME_PATTERN)
_THREAD_ID = re.compile(THREAD_ID_PATTERN)
_HIDDEN = "\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # git takes them; on a screen nobody sees them
_NO_BRANCH = re.compile(r"[\x00-\x20~^:?*\[\\" + _HIDDEN + r"]|\.\.|@\{|//|^[-/.]|[/.]$|\.lock(/|$)|/\.")
_UNSLUGGABLE = re.compile(r"[^a-z0-9]+")


def name_fault(text: str) -> str | None:
    """Say what is wrong with a ticket, run id, agent or repository name, or None."""
    if _NAME.fullmatch(text):
        return None
    return "must be 1 to 64 letters, digits, '.', '_' or '-', and start with a letter or digit"


def branch_fault(text: str) -> str | None:
    """Say why a branch cannot have this name, or None (`git help check-ref-format`)."""
    if text and text != "@" and not _NO_BRANCH.search(text):
        return None
    return f"is no name of a branch that git accepts and a screen shows: {text!r}"


def thread_id_fault(text: str) -> str | None:
    """Say what is wrong with a thread id chosen by a client, or None."""
    if _THREAD_ID.fullmatch(text):
        return None
    return "must be 'fthr-' and 1 to 60 lower-case letters, digits or '-'"


def text_fault(text: str) -> str | None:
    """Say why a text cannot be stored exactly, or None: no NUL, and UTF-8 must be able to hold it."""
    if "\x00" in text:
        return "must not contain a NUL character"
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "must not contain lone surrogates"
    return None


def slug(text: str) -> str:
    """Reduce a name to `[a-z0-9-]`. Different names may give one slug; the caller's table decides."""
    return _UNSLUGGABLE.sub("-", text.lower()).strip("-") or "x"


def control_thread_id(run_id: str, agent_name: str, attempt: int = 1) -> str:
    """The id of the control thread of (run, agent); `attempt` 2, 3, ... where an earlier one is another pair's."""
    base = f"fctrl-{slug(run_id)}-{slug(agent_name)}"
    return base if attempt == 1 else f"{base}-{attempt}"
