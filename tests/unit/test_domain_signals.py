"""Control signals: what each needs, and every fault by its name (contract, section 7)."""

from __future__ import annotations

from typing import Any

import pytest

from metawsm.domain.errors import InvalidFields
from metawsm.domain.signals import check_signal

GOOD: list[dict[str, Any]] = [
    {"control_type": "guidance_request", "question": "?"},
    {"control_type": "guidance_request", "question": "?", "context": "c", "schema_version": 1},
    {"control_type": "guidance_answer", "answer": "!"},
    {"control_type": "completion"},
    {"control_type": "completion", "summary": "s", "run_id": "run-1", "agent_name": "bob"},
    {"control_type": "validation", "status": "passed", "done_criteria": "d"},
]
BAD: list[tuple[str, dict[str, Any]]] = [
    ("control_type", {}),
    ("control_type", {"control_type": "dance"}),
    ("question", {"control_type": "guidance_request"}),
    ("question", {"control_type": "guidance_request", "question": "  "}),
    ("answer", {"control_type": "guidance_answer"}),
    ("status", {"control_type": "validation", "done_criteria": "d"}),
    ("status", {"control_type": "validation", "status": "maybe", "done_criteria": "d"}),
    ("done_criteria", {"control_type": "validation", "status": "failed"}),
    ("schema_version", {"control_type": "completion", "schema_version": 2}),
    ("schema_version", {"control_type": "completion", "schema_version": True}),
    ("run_id", {"control_type": "completion", "run_id": "other"}),
    ("agent_name", {"control_type": "completion", "agent_name": "other"}),
    ("summary", {"control_type": "completion", "summary": 5}),
    ("summary", {"control_type": "completion", "summary": "x" * 70_000}),
    ("summary", {"control_type": "completion", "summary": "a\x00"}),
    ("colour", {"control_type": "completion", "colour": "red"}),
]


@pytest.mark.parametrize("payload", GOOD)
def test_good_signals(payload: dict[str, Any]) -> None:
    """The stored form has version, run and agent."""
    stored = check_signal(payload, "run-1", "bob")
    assert stored == {"schema_version": 1, "run_id": "run-1", "agent_name": "bob"} | payload


@pytest.mark.parametrize(("member", "payload"), BAD)
def test_bad_signals(member: str, payload: dict[str, Any]) -> None:
    """The fault is named as payload.<member>."""
    with pytest.raises(InvalidFields) as caught:
        check_signal(payload, "run-1", "bob")
    assert f"payload.{member}" in caught.value.fields
