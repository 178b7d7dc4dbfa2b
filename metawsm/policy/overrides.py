"""Settings from the environment and from flags, laid over what the file says."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, get_args

from attrs import Attribute, frozen

from metawsm.policy.sections import Policy
from metawsm.policy.structuring import leaves

PREFIX = "METAWSM_"
TRUE = ("true", "1", "yes", "on")
FALSE = ("false", "0", "no", "off")


@frozen
class Override:
    """One value from outside the file; `source` names the variable or the flag for messages."""

    path: str
    value: object
    source: str


def variable(path: str) -> str:
    """The environment variable of a setting: `forum.redis.url` is METAWSM_FORUM_REDIS_URL."""
    return PREFIX + path.upper().replace(".", "_")


def settable() -> dict[str, Attribute[Any]]:
    """The settings that flags and the environment may set, by path."""
    return {path: each for path, each in leaves(Policy) if not each.metadata["file_only"]}


def from_environment(env: Mapping[str, str]) -> Iterator[Override]:
    """The settings that the environment names, read by the type of each."""
    for path, attribute in settable().items():
        text = env.get(variable(path))
        if text is not None:
            yield Override(path, read(text, attribute.type), variable(path))


def from_flags(flags: Mapping[str, object]) -> Iterator[Override]:
    """The flags that were given, by path; None means not given. Texts are read by the setting's type."""
    known = settable()
    for path, value in flags.items():
        if value is not None:
            typed = read(value, known[path].type) if isinstance(value, str) else value
            yield Override(path, typed, "the command line")


def read(text: str, kind: Any) -> object:
    """A text as a value of `kind`; a text that does not fit is left for the structuring to complain about."""
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
    if kind is bool and text.lower() in TRUE + FALSE:
        return text.lower() in TRUE
    if kind is int and text.strip().removeprefix("-").isascii() and text.strip().removeprefix("-").isdigit():
        return int(text)
    return text


def strangers(env: Mapping[str, str]) -> Iterator[str]:
    """A warning for each variable that looks like a setting and is none, or that only the file may set."""
    known = {variable(path): path for path in settable()}
    forbidden = {variable(path): path for path, each in leaves(Policy) if each.metadata["file_only"]}
    sections = tuple(f"{PREFIX}{name.upper()}_" for name in _sections())
    for name in sorted(env):
        if name in forbidden:
            yield f"{name} is ignored: {forbidden[name]} can be set only in the policy file"
        elif name.startswith(sections) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            yield f"{name} is ignored: no setting has this name" + (f"; did you mean {near[0]}?" if near else "")


def _sections() -> list[str]:
    """The names of the sections at the top of the policy."""
    return sorted({path.partition(".")[0] for path, _ in leaves(Policy) if "." in path})


def lay_over(raw: dict[str, Any], overrides: list[Override]) -> None:
    """Put the values into the tree of the file, in place; a later one wins. Broken sections are left as they are."""
    for override in overrides:
        *parents, leaf = override.path.split(".")
        section: Any = raw
        for parent in parents:
            section = section.setdefault(parent, {}) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section[leaf] = override.value
