"""Every long effect, one file each."""

from __future__ import annotations

from metawsm.bus.jobs import JobSpec
from metawsm.jobs import (
    check_gates,
    close_docs,
    create_workspace,
    deliver_answer,
    find_repositories,
    merge_branch,
    prepare_docs,
    remove_workspace,
    seed_docs,
    start_session,
    stop_session,
    write_feedback,
)

ALL: tuple[JobSpec, ...] = (
    find_repositories.SPEC,
    create_workspace.SPEC,
    seed_docs.SPEC,
    prepare_docs.SPEC,
    start_session.SPEC,
    stop_session.SPEC,
    write_feedback.SPEC,
    check_gates.SPEC,
    close_docs.SPEC,
    merge_branch.SPEC,
    remove_workspace.SPEC,
    deliver_answer.SPEC,
)
