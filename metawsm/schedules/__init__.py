"""Everything that happens by the clock, one file each."""

from __future__ import annotations

from metawsm.bus.specs import ScheduleSpec
from metawsm.schedules import republish, retention

ALL: tuple[ScheduleSpec, ...] = (republish.SPEC, retention.SPEC)
