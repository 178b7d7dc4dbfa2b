"""The text of a policy file: JSON with line and column on errors, and the forms of the Go program."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from metawsm.domain.errors import PolicyError

LARGEST = 1024 * 1024
UNUSED = ("git_pr",)
"""Sections of the Go program's policy that this program has no use for."""


def read_file(path: Path) -> dict[str, Any]:
    """The JSON object in a file. PolicyError names the file and, for bad JSON, line and column."""
    text = _text(path)
    try:
        raw = json.loads(text, object_pairs_hook=_object, parse_int=_whole, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise PolicyError(
            f"policy file {path} is not JSON: line {error.lineno} column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise PolicyError(f"policy file {path} is nested too deeply") from None
    except ValueError as error:
        raise PolicyError(f"policy file {path}: {error}") from None
    if not isinstance(raw, dict):
        raise PolicyError(f"policy file {path} must hold one JSON object")
    return raw


def _text(path: Path) -> str:
    """What the file says, up to 1 MiB of UTF-8, with or without a byte order mark."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PolicyError(f"policy file {path} cannot be read: it is not a regular file")
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise PolicyError(f"policy file {path} cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise PolicyError(f"policy file {path} is larger than 1 MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PolicyError(f"policy file {path} is not UTF-8 at byte {error.start}") from None


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to would never open otherwise."""
    return os.open(path, flags | os.O_NONBLOCK)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no key stands twice. Null is the same as leaving the key out."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"the key {key!r} stands twice in one object")
        seen.add(key)
    return {key: value for key, value in pairs if value is not None}


def _whole(text: str) -> int:
    """Python's own complaint about very many digits is for those who write Python."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"a number has {len(text)} digits") from None


def _no_constant(name: str) -> object:
    """NaN and Infinity are no JSON."""
    raise ValueError(f"{name} is not a JSON value")


def modernise(raw: dict[str, Any]) -> list[str]:
    """Bring a file of the Go program to version 2, in place; returns what its owner should know."""
    warnings = [f"{key} is not used by this program and is ignored" for key in UNUSED if raw.pop(key, None) is not None]
    version = raw.get("version")
    if version is None:
        warnings.append('version is missing and is taken for 2; write "version": 2')
    elif type(version) is int and version == 1:
        warnings.append('version 1 is read as the Go program did; write "version": 2 after a look at the reference')
        _profiles_from_commands(raw, warnings)
    else:
        return warnings
    raw["version"] = 2
    return warnings


def _profiles_from_commands(raw: dict[str, Any], warnings: list[str]) -> None:
    """Version 1 had agents of a name and a command; each becomes a shell profile of the same name."""
    agents = raw.get("agents")
    if "agent_profiles" in raw or not isinstance(agents, list):
        return
    if not all(isinstance(agent, dict) and set(agent) == {"name", "command"} for agent in agents):
        return
    raw["agent_profiles"] = [
        {"name": agent["name"], "runner": "shell", "runner_options": {"command": agent["command"]}} for agent in agents
    ]
    raw["agents"] = [{"name": agent["name"], "profile": agent["name"]} for agent in agents]
    warnings.append("agents with a command were read as shell profiles of the same name")
