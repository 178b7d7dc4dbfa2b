"""Every command, one file each. The order is the order of topics in lists."""

from __future__ import annotations

from metawsm.bus.specs import CommandSpec
from metawsm.commands import (
    add_post,
    answer_thread,
    assign_thread,
    change_state,
    cleanup_run,
    close_run,
    close_thread,
    follow_control,
    iterate_run,
    mark_seen,
    merge_run,
    open_thread,
    read_answers,
    record_agents,
    record_delivery,
    record_step,
    restart_run,
    resume_run,
    set_priority,
    signal,
    start_run,
    stop_run,
)

ALL: tuple[CommandSpec, ...] = (
    open_thread.SPEC,
    add_post.SPEC,
    answer_thread.SPEC,
    assign_thread.SPEC,
    change_state.SPEC,
    set_priority.SPEC,
    close_thread.SPEC,
    mark_seen.SPEC,
    read_answers.SPEC,
    signal.SPEC,
    start_run.SPEC,
    resume_run.SPEC,
    stop_run.SPEC,
    restart_run.SPEC,
    iterate_run.SPEC,
    merge_run.SPEC,
    close_run.SPEC,
    cleanup_run.SPEC,
    record_step.SPEC,
    record_agents.SPEC,
    record_delivery.SPEC,
    follow_control.SPEC,
)
