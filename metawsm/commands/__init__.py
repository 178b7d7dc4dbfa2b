"""Every command, one file each. The order is the order of topics in lists."""

from __future__ import annotations

from metawsm.bus.specs import CommandSpec
from metawsm.commands import (
    add_post,
    answer_thread,
    assign_thread,
    change_state,
    close_thread,
    mark_seen,
    open_thread,
    read_answers,
    set_priority,
    signal,
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
)
