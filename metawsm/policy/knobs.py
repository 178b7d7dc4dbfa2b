"""How one setting is declared: its default, what it means, what is allowed, and whether only the file may set it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from attrs import Attribute, field

from metawsm.domain.names import branch_fault, name_fault

Check = Callable[[Any], str | None]
"""Looks at a value of the right type; returns what is wrong with it, or None."""

TOPIC = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,15}")
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "embedded")


def knob(default: Any, doc: str, *, check: Check | None = None, file_only: bool = False) -> Any:
    """An attrs field for one setting. A callable `default` is a factory. `doc` is one sentence for the reference."""
    metadata = {"doc": doc, "check": check, "file_only": file_only}
    if callable(default):
        return field(factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def required(doc: str, *, check: Check | None = None) -> Any:
    """An attrs field without a default, for entries of lists; only the file can hold those."""
    return field(metadata={"doc": doc, "check": check, "file_only": True})


def check_of(attribute: Attribute[Any]) -> Check | None:
    """The check that was declared with the setting."""
    check: Check | None = attribute.metadata.get("check")
    return check


def between(low: int, high: int) -> Check:
    """A whole number from `low` to `high`, both included."""

    def check(value: int) -> str | None:
        return None if low <= value <= high else f"must be from {low} to {high}, not {value}"

    return check


def name(value: str) -> str | None:
    """The grammar of names: agents, profiles, branch parts."""
    fault = name_fault(value)
    return f"{fault}, not {value!r}" if fault else None


def topic(value: str) -> str | None:
    """A stream, a group or a topic prefix in Redis: words of letters, digits, '_' and '-', with dots between."""
    if len(value) <= 128 and TOPIC.fullmatch(value):
        return None
    return f"must be words of letters, digits, '_' or '-' with dots between, at most 128 characters, not {value!r}"


def filled(value: str) -> str | None:
    """Any text but an empty one or one with NUL in it."""
    return None if value.strip() and "\0" not in value else "must not be empty"


def git_ref(value: str) -> str | None:
    """A branch that git takes (the rules of git-check-ref-format that matter for one name)."""
    return branch_fault(value)


def redis_url(value: str | None) -> str | None:
    """A url of a Redis server. None (choose one) and the empty text (degraded) are allowed and differ."""
    if not value:
        return None
    scheme, separator, _rest = value.partition("://")
    if separator and scheme in REDIS_SCHEMES:
        return _port_fault(value)
    return f"must start with one of {', '.join(known + '://' for known in REDIS_SCHEMES)}"


def _port_fault(url: str) -> str | None:
    """Whether host and port of `url` can be read; a list of sentinels is left to the driver."""
    try:
        _ = url.startswith("redis+sentinel") or urlsplit(url).port
    except ValueError:  # its text may hold a part of the password
        return "is not a url: host or port cannot be read"
    return None


def web_url(value: str) -> str | None:
    """An http or https url with a host."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    return None if usable else f"must be an http or https url, not {value!r}"


def web_url_or_empty(value: str) -> str | None:
    """Like `web_url`, and the empty text for none."""
    return web_url(value) if value else None


def session_pattern(value: str) -> str | None:
    """A tmux session name with `{agent}` and `{workspace}` in it; tmux itself forbids '.' and ':'."""
    rest = value.replace("{agent}", "a").replace("{workspace}", "w")
    if "{" in rest or "}" in rest:
        return "may contain only {agent} and {workspace} in braces"
    for part in ("{agent}", "{workspace}"):
        if part not in value:
            return f"must contain {part}, or two agents would share one session"
    return None if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", rest) else f"must be letters, digits, '_' or '-', not {value!r}"
