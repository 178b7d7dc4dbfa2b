"""What the policy says about runs, as the domain and the jobs take it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from metawsm.bus.jobs import Profile
from metawsm.domain.errors import Obstructed
from metawsm.domain.operator import OperatorLimits
from metawsm.domain.run_plan import Settings
from metawsm.policy import Policy

SEEDED = "copy_from_repo_on_start"


def settings_of(policy: Policy, folder: Path) -> Settings:
    """The names and places of new runs. `folder` holds the database; relative places begin there."""
    workspace = policy.workspace
    return Settings(
        workspace_root=str(placed(workspace.root, folder)),
        strategy=workspace.default_strategy,
        branch_prefix=workspace.branch_prefix,
        base=workspace.base_branch,
        session_pattern=policy.tmux.session_pattern,
        agents=tuple((agent.name, agent.profile) for agent in policy.agents),
        seeded=policy.docs.seed_mode == SEEDED,
        operator=operator_limits(policy),
    )


def operator_limits(policy: Policy) -> OperatorLimits:
    """When an operator restarts or stops. Looks in a row are told as the time they take."""
    operator = policy.operator
    return OperatorLimits(
        operator.unhealthy_confirmations * policy.health.check_seconds,
        operator.restart_budget,
        operator.restart_cooldown_seconds,
        operator.stale_run_age_seconds,
    )


def placed(text: str, folder: Path) -> Path:
    """An absolute path: a relative one begins at `folder`, `~` is the user's home."""
    return (folder / Path(text).expanduser()).resolve()


def profiles_of(policy: Policy) -> Callable[[str], Profile]:
    """A function that finds a profile by name, as the policy is now."""

    def find(name: str) -> Profile:
        for each in policy.agent_profiles:
            if each.name == name:
                options = each.runner_options
                return Profile(
                    each.name, each.runner, each.base_prompt, each.skills, options.full_auto, options.command,
                    each.delivery,
                )  # fmt: skip
        raise Obstructed(f"the policy has no profile {name!r} any more; put it back, or start another run")

    return find
