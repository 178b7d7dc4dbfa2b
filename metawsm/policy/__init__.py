"""The only reader of the policy file and of what overrides it."""

from __future__ import annotations

from metawsm.policy.default_file import default_text, write_default
from metawsm.policy.loading import DEFAULT_PATH, Loaded, load
from metawsm.policy.sections import Agent, AgentProfile, Auth, Forum, Limits, Policy, Redis, Sla, Topics

__all__ = [
    "DEFAULT_PATH",
    "Agent",
    "AgentProfile",
    "Auth",
    "Forum",
    "Limits",
    "Loaded",
    "Policy",
    "Redis",
    "Sla",
    "Topics",
    "default_text",
    "load",
    "write_default",
]
