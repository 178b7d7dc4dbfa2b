"""Runs as the domain makes them, told step by step, and their GET answer, without a daemon."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from metawsm.domain import run_actions
from metawsm.domain.run import Run, created, evolve_run
from metawsm.domain.run_events import Brief, RunCreated, RunFact
from metawsm.domain.run_plan import Settings, Wish, plan_run
from metawsm.domain.run_view import run_view
from tests.support.run_settings import SETTINGS

BRIEF = Brief("One schema.", "the events", "tests pass", "no new dependency")
BY = ("operator", "kb")


class ShownRun:
    """A run and what is done to it; each deed is a second after the one before, the last one now."""

    def __init__(self, *, mode: str = "bootstrap", settings: Settings = SETTINGS, paused: bool = False) -> None:
        wish = Wish(mode, ("MET-1",), ("api", "web"), brief=BRIEF if mode == "bootstrap" else None)
        self._second = 0
        fact = plan_run("run-1", wish, settings)
        self.run = self._begin(fact, run_actions.create("run-1", fact, self.now, BY, paused))

    @property
    def now(self) -> str:
        """The time of the next deed: an hour ago, and a second more for each."""
        at = datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=self._second)
        return at.isoformat(timespec="microseconds")

    def _begin(self, fact: RunCreated, facts: Sequence[RunFact]) -> Run:
        self.run = created("run-1", fact, self.now, BY)
        return self.add(facts[1:])

    def add(self, facts: Sequence[RunFact]) -> Run:
        """What follows from facts; each has a sequence of its own."""
        for fact in facts:
            sequence = self.run.last_event_sequence + 1
            self.run = attrs.evolve(evolve_run(self.run, fact, self.now), last_event_sequence=sequence)
        self._second += 1
        return self.run

    def step(self, error: str | None = None, **result: Any) -> Run:
        """The step under way ends: done, or with an error."""
        busy = self.run.busy
        assert busy is not None
        state = "failed" if error else "done"
        told = {"repositories": {"api": "/srv/api", "web": "/srv/web"}, "folder": "/srv/agents/1", **result}
        return self.add(
            run_actions.step_ended(self.run, busy.index, state, 1, error, None if error else told, self.now)
        )

    def steps(self) -> Run:
        """Every step that there is ends well."""
        while self.run.busy is not None:
            self.step()
        return self.run

    def signal(self, open_requests: int = 0, **report: Any) -> Run:
        """The agent's control thread has so many open requests, and says this."""
        thread = "fctrl-run-1-agent"
        return self.add(run_actions.control_changed(self.run, "agent", thread, open_requests, report, self.now))

    def completed(self) -> Run:
        """All steps are done and the agent has reported what it takes."""
        self.steps()
        self.signal(control_type="completion")
        return self.signal(control_type="validation", status="passed", done_criteria=BRIEF.done_criteria)

    def detail(self, **more: Any) -> dict[str, Any]:
        """The run as GET /runs/{id} shows it."""
        forum = {"states": {}, "sla": {"waiting_count": 0, "breached_count": 0}, "threads": []}
        return run_view(self.run) | {"checkouts": [], "docs": [], "guidance": [], "forum": forum} | more
