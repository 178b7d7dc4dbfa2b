"""The policy's reference tells the truth: what nothing reads says so, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs

from metawsm.policy import Policy
from metawsm.policy.sections import UNUSED
from tests.support import sources

SHARED = {"mode", "command", "enabled", "authority_mode"}
"""Words that are members of other things, too: whether the setting is read cannot be seen by its name."""


def _knobs(section: Any) -> Iterator[tuple[str, str]]:
    """Name and sentence of each setting, at any depth."""
    for field in attrs.fields(attrs.resolve_types(section)):
        if attrs.has(field.type):
            yield from _knobs(field.type)
        else:
            yield field.name, field.metadata.get("doc", "")


def test_what_nothing_reads_says_so() -> None:
    """A setting is read as a member of its section."""
    outside = "\n".join(path.read_text() for path in sources.modules("metawsm") if "policy" not in path.parts)
    knobs = list(_knobs(Policy))
    unread = {name for name, _ in knobs if not re.search(rf"\.{name}\b", outside)}
    told = {name for name, doc in knobs if UNUSED in doc}
    assert len(knobs) > 40 and unread
    assert unread <= told <= unread | SHARED
