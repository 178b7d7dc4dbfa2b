"""What the policy might say about runs, for tests without a policy."""

from __future__ import annotations

from metawsm.domain.run_plan import Settings

SETTINGS = Settings(
    workspace_root="/srv/workspaces",
    strategy="create",
    branch_prefix="task",
    base="main",
    session_pattern="{agent}-{workspace}",
    agents=(("agent", "default-shell"),),
)
