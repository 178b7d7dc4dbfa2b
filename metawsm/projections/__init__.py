"""Every read model, one file each. All are computed together; the order is the order within one event."""

from __future__ import annotations

from metawsm.bus.specs import ProjectionSpec
from metawsm.projections import agent_inbox, search, thread_stats, thread_views

ALL: tuple[ProjectionSpec, ...] = (
    thread_views.SPEC,
    thread_stats.SPEC,
    agent_inbox.SPEC,
    search.SPEC,
)
