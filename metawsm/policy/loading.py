"""Putting a policy together: defaults, then the file, then the environment, then the flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from metawsm.domain.errors import PolicyError
from metawsm.policy.overrides import Override, from_environment, from_flags, lay_over, settable, strangers
from metawsm.policy.reading import modernise, read_file
from metawsm.policy.sections import Faults, Policy
from metawsm.policy.structuring import leaves, structure, value_faults

DEFAULT_PATH = Path(".metawsm/policy.json")


@frozen
class Loaded:
    """A policy and where it came from.

    `warnings` are sentences for the log. `sources` gives, for each setting's path, `default`, `file`, the name of an
    environment variable, or `the command line`. `path` is the file that was read, or None.
    """

    policy: Policy
    warnings: tuple[str, ...]
    sources: Mapping[str, str]
    path: Path | None


def load(path: Path | None, env: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """The policy in force. `path` None means `.metawsm/policy.json`, which may be missing; a named file may not.

    `flags` maps paths of settings (`forum.redis.url`) to values; None means not given. Raises PolicyError with all
    faults at once: `fields` is {path: [texts]}.
    """
    file = path if path is not None else _default_file()
    raw = {} if file is None else read_file(file)
    warnings = [] if file is None else [f"policy file {file}: {text}" for text in modernise(raw)]
    sources = {setting: _source(raw, setting) for setting, _ in leaves(Policy)}
    overrides = [*from_environment(env), *from_flags(flags)]
    hidden = dict(_hidden(raw, overrides))
    lay_over(raw, overrides)
    sources |= {override.path: override.source for override in overrides}
    result = structure(raw)
    if hidden or not isinstance(result, Policy):
        raise _error({} if isinstance(result, Policy) else result, hidden, file, overrides)
    return Loaded(result, (*warnings, *strangers(env)), sources, file)


def _hidden(raw: dict[str, Any], overrides: list[Override]) -> Iterator[tuple[str, list[str]]]:
    """The faulty values of the file that something overrides, by path: they are as wrong as any other."""
    known = settable()
    for override in overrides:
        value = _value(raw, override.path)
        if value is not None and (texts := value_faults(known[override.path], value)):
            yield override.path, [f"{text} (in the file; {override.source} overrides it)" for text in texts]


def _default_file() -> Path | None:
    """`.metawsm/policy.json` if it is there. Raises PolicyError when that cannot be seen."""
    try:
        return DEFAULT_PATH if DEFAULT_PATH.exists() else None
    except OSError as error:
        raise PolicyError(
            f"policy file {DEFAULT_PATH} cannot be read: {error.strerror};"
            " run as the owner of its folder, or mend the folder's mode"
        ) from None


def _source(raw: dict[str, Any], setting: str) -> str:
    """Whether the file sets this setting."""
    return "default" if _value(raw, setting) is None else "file"


def _value(raw: dict[str, Any], setting: str) -> Any:
    """What the file says, or None."""
    section: Any = raw
    for key in setting.split("."):
        section = section.get(key) if isinstance(section, dict) else None
    return section


def _error(faults: Faults, hidden: Faults, file: Path | None, overrides: list[Override]) -> PolicyError:
    """One error that lists every fault with its path, and with its variable or flag where the file is not to blame."""
    named = {override.path: override.source for override in overrides}
    fields = {
        path: [f"{text} (from {named[path]})" if path in named else text for text in texts]
        for path, texts in faults.items()
    }
    fields |= {path: [*fields.get(path, ()), *texts] for path, texts in hidden.items()}
    lines = [f"{path}: {text}" for path, texts in fields.items() for text in texts]
    where = f"policy file {file}" if file is not None else "policy"
    return PolicyError(f"{where} is not valid: {'; '.join(lines)}", fields=fields)
