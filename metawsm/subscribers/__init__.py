"""Every reaction to events, one file each."""

from __future__ import annotations

from metawsm.bus.reactions import SubscriberSpec
from metawsm.subscribers import close_control_threads, deliver_answers, run_signals

ALL: tuple[SubscriberSpec, ...] = (run_signals.SPEC, close_control_threads.SPEC, deliver_answers.SPEC)
