"""The reference page of the policy, written from the definitions."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

import attrs

from metawsm.policy.overrides import variable
from metawsm.policy.sections import Agent, AgentProfile, DocEndpoint, Policy
from metawsm.policy.structuring import leaves, unstructure

HEAD = """\
# The policy file

`.metawsm/policy.json` is one JSON object. `metawsm.pyz policy-init` writes it with every default. Each setting is taken
from the first place that names it: a flag, its environment variable, the file, the default below. Settings without a
variable can be set only in the file. An unknown key or a bad value is an error that names the path of the key; all are
reported at once. A key with `null` counts as not written. Files of the Go program are read: version 1 or a missing
version warns, and so does `git_pr`, which is not used.

The daemon reads the file when it starts: after a change, restart it. Agents of runs go on meanwhile.

This page is generated from the definitions in `metawsm/policy/sections.py`.
"""


def reference() -> str:
    """The page `docs/reference/policy.md` as Markdown."""
    groups: dict[str, list[str]] = {}
    for path, attribute in leaves(Policy):
        groups.setdefault(path.rpartition(".")[0], []).append(_row(path, attribute))
    parts = [HEAD]
    parts += [_table(f"`{section}`" if section else "Top level", rows) for section, rows in groups.items()]
    entries = {"agent_profiles": AgentProfile, "agents": Agent, "docs.api.*_endpoints": DocEndpoint}
    parts += [_table(f"Entries of `{path}`", [_row(*leaf) for leaf in leaves(kind)]) for path, kind in entries.items()]
    return "\n".join(parts)


def _table(title: str, rows: list[str]) -> str:
    """One section with its rows."""
    head = "| setting | type | default | environment | meaning |\n|---|---|---|---|---|"
    return "\n".join([f"## {title}", "", head, *rows, ""])


def _row(path: str, attribute: attrs.Attribute[Any]) -> str:
    """One setting as a row of a table."""
    where = "file only" if attribute.metadata["file_only"] else f"`{variable(path)}`"
    return f"| `{path}` | {_type(attribute.type)} | {_default(attribute)} | {where} | {attribute.metadata['doc']} |"


def _type(kind: Any) -> str:
    """The type of a setting in words of JSON."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "list"
    return {bool: "true/false", int: "number", str: "text"}.get(kind, "text")


def _default(attribute: attrs.Attribute[Any]) -> str:
    """The default of a setting as JSON, `not set` for None, `required` where there is none."""
    if attribute.default is attrs.NOTHING:
        return "required"
    if attribute.default is None:
        return "not set"
    if isinstance(attribute.default, attrs.Factory):  # type: ignore[arg-type] # a class at run time
        return f"`{json.dumps(unstructure(Policy())[attribute.name])}`"
    return f"`{json.dumps(attribute.default)}`"
