"""Runs: what reacts to events, and what acts outside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from metawsm.bus.dispatch import Handled
from metawsm.bus.internal import Internal
from metawsm.bus.jobs import JobTools
from metawsm.bus.ports import Db
from metawsm.bus.reactions import Reactor
from metawsm.bus.receive import DeadLetters
from metawsm.bus.work import Queued
from metawsm.daemon.agent_watch import AgentWatch
from metawsm.daemon.job_worker import JobWorker
from metawsm.daemon.reaction_loop import ReactionLoop
from metawsm.daemon.surroundings import Place
from metawsm.domain.run_health import Thresholds
from metawsm.jobs import ALL as JOBS
from metawsm.policy import Policy
from metawsm.storage.errors import translate
from metawsm.storage.group_writer import GroupWriter
from metawsm.storage.jobs_table import JobTable
from metawsm.storage.subscriber_cursors import SubscriberCursors
from metawsm.subscribers import ALL as SUBSCRIBERS

PASSED = 1000  # events after which every reaction moves its cursor
log = logging.getLogger("metawsm.jobs")


@define(eq=False)
class RunsSide:
    """The reactions, and the worker of jobs."""

    writer: GroupWriter
    worker: JobWorker
    watch: AgentWatch
    reactions: Sequence[ReactionLoop]
    jobs: JobTable
    now: Callable[[], str]
    place: Place
    _by_type: dict[str, list[ReactionLoop]] = field(factory=dict, init=False)
    _passed: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        for loop in self.reactions:
            for event_type in loop.types:
                self._by_type.setdefault(event_type, []).append(loop)

    def handled(self, handled: Handled) -> None:
        """A command has been done: prompt those whom its events or jobs concern.

        Events of no run concern nobody; now and then the cursors move past them, so that no step has many to pass.
        """
        for queued in handled.queued:
            if queued.event is None or queued.event.envelope.run_id is not None:
                for loop in self._by_type.get(queued.name, ()):
                    loop.prompt()
        self._passed += len(handled.queued)
        if self._passed >= PASSED:
            self._passed = 0
            for loop in self.reactions:
                loop.prompt()
        if handled.jobs:
            self.worker.prompt()

    def begin(self, server: str) -> None:
        """Take up what an earlier process has left; what a restored backup brought is kept back.

        `server` is where agents reach this daemon.
        """
        self.place.server = server
        held = self.writer.run(lambda db: self.jobs.hold(db, self.now()))
        if held:
            log.warning("%d job(s) of the restored backup are held; `metawsm.pyz jobs release` lets them begin", held)
        self.look_again()

    def note_positions(self) -> None:
        """Reactions that have never run begin where the log ends now: call it before anything can happen."""
        for loop in self.reactions:
            loop.note_position()

    def look_again(self) -> None:
        """There may be events and jobs that nobody told of."""
        for loop in self.reactions:
            loop.prompt()
        self.worker.prompt()

    def release(self) -> int:
        """Let the jobs begin that are held since a restore; return how many."""
        count = self.writer.run(lambda db: self.jobs.release(db, self.now()))
        self.worker.prompt()
        return count

    def faults(self) -> dict[str, str]:
        """Why reactions wait, by name."""
        return {loop.name: loop.fault for loop in self.reactions if loop.fault}


def reactors_of(internal: Internal) -> dict[str, Reactor]:
    """Every reaction by its name."""
    cursors = SubscriberCursors()
    return {
        spec.name: Reactor(spec, internal, cursors, lambda error: translate(error, "") is not error)
        for spec in SUBSCRIBERS
    }


def runs_side(
    policy: Policy,
    writer: GroupWriter,
    read: Callable[[Callable[[Db], Any]], Any],
    jobs: JobTable,
    internal: Internal,
    reactors: Mapping[str, Reactor],
    letters: DeadLetters,
    tools: JobTools,
    place: Place,
    feed: str,
    on_commands: Callable[[Sequence[Queued]], None],
) -> RunsSide:
    """Everything of it. `feed` is the topic of all events, for dead letters."""
    worker = JobWorker(writer, read, jobs, JOBS, tools, internal, policy.execution.step_retries, on_commands)
    health = policy.health
    after = Thresholds(health.idle_seconds, health.activity_stalled_seconds, health.progress_stalled_seconds)
    watch = AgentWatch(writer, read, tools.tmux, tools.git, tools.launcher, internal, after, tools.mark, on_commands)
    group = policy.forum.redis.group
    loops = [
        ReactionLoop(writer, reactor, letters, group, feed, tools.now, on_commands, worker.prompt)
        for reactor in reactors.values()
    ]
    return RunsSide(writer, worker, watch, loops, jobs, tools.now, place)
