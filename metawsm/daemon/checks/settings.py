"""The policy: whether it can be read, and what in it is odd."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from metawsm.daemon.checks.finding import Finding, fail, ok, warn
from metawsm.domain.errors import PolicyError
from metawsm.policy import Loaded, Policy, load


def settings(path: Path | None, env: Mapping[str, str], redis: str | None) -> tuple[Policy, list[Finding]]:
    """The policy in force, and what is to be said of it; the defaults go on where it cannot be read."""
    try:
        loaded = load(path, env, {"forum.redis.url": redis})
    except PolicyError as error:
        return Policy(), [fail("policy.valid", error.message, _hint(error))]
    return loaded.policy, [_valid(loaded), *_warnings(loaded)]


def _hint(error: PolicyError) -> str:
    if "cannot be read" in error.message:
        return "correct its name, its mode or that of its folder; the defaults are looked at below"
    return "mend the key that is named; docs/reference/policy.md explains each, `policy-init` writes the defaults"


def _valid(loaded: Loaded) -> Finding:
    where = str(loaded.path) if loaded.path else "no file, the defaults hold"
    if not loaded.policy.forum.enabled:
        hint = "set forum.enabled to true if the forum is wanted"
        return warn("policy.valid", f"{where}; forum.enabled is false: forum routes answer 503", hint)
    changed = sorted(name for name, source in loaded.sources.items() if source not in ("default", "file"))
    return ok("policy.valid", where + (f"; from outside the file: {', '.join(changed)}" if changed else ""))


def _warnings(loaded: Loaded) -> list[Finding]:
    hint = "remove it, or write it as docs/reference/policy.md has it"
    return [warn("policy.warning", text, hint) for text in loaded.warnings]
