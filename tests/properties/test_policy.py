"""Whatever stands in a policy file, loading gives a policy or one PolicyError."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from metawsm.domain.errors import PolicyError
from metawsm.policy import Policy, load
from metawsm.policy.structuring import leaves, structure, unstructure

PATHS = [path for path, _ in leaves(Policy)]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def tree(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A nested object from dotted paths; a later path may break an earlier one."""
    root: dict[str, Any] = {}
    for path, value in pairs:
        *parents, leaf = path.split(".")
        here: Any = root
        for parent in parents:
            here = here.setdefault(parent, {}) if isinstance(here, dict) else None
        if isinstance(here, dict):
            here[leaf] = value
    return root


def is_policy_or_named_fault(path: Path) -> bool:
    """Whether loading this file ends in one of the two ways it may."""
    try:
        return isinstance(load(path, {}, {}).policy, Policy)
    except PolicyError as error:
        return bool(error.fields) or "twice" in error.message


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(PATHS) | st.text(max_size=12), VALUES), max_size=6))
def test_load_gives_a_policy_or_a_policy_error(pairs: list[tuple[str, Any]]) -> None:
    """No value at any path gets through as another error, and an error always names a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.json"
        path.write_text(json.dumps(tree(pairs)))
        assert is_policy_or_named_fault(path)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(min_size=1).filter(lambda text: "\0" not in text), st.text(), max_size=5))
def test_a_foreign_environment_changes_nothing(env: dict[str, str]) -> None:
    """Variables that are not ours are never read."""
    foreign = {f"X{name}": text for name, text in env.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.json"
        path.write_text('{"version": 2}')
        assert load(path, foreign, {}).policy == Policy()


@given(st.integers(1, 525_600), st.sampled_from(["agent", "open", "token"]), st.booleans())
@settings(deadline=None, max_examples=30)
def test_a_policy_survives_its_written_form(minutes: int, loopback: Any, trusted: bool) -> None:
    """Writing a policy out and reading it back gives the same policy."""
    policy = Policy()
    forum = attrs.evolve(
        policy.forum,
        sla=attrs.evolve(policy.forum.sla, escalation_minutes=minutes),
        redis=attrs.evolve(policy.forum.redis, trusted_publishers=trusted),
    )
    policy = attrs.evolve(policy, forum=forum, auth=attrs.evolve(policy.auth, loopback=loopback))
    assert structure(json.loads(json.dumps(unstructure(policy)))) == policy
