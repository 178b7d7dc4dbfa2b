"""What health says of runs: the jobs that act outside, and those who react to events and look at agents."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from attrs import define

from metawsm.bus.ports import Db
from metawsm.daemon.runs_side import RunsSide
from metawsm.storage.run_reads import count_watched

OVERDUE_SECONDS = 60.0  # that a job may be due and not begun before health says attention


@define(eq=False)
class RunFacts:
    """`read(query)` is a short query, `now` the time (RFC 3339)."""

    runs: RunsSide
    read: Callable[[Callable[[Db], Any]], Any]
    now: Callable[[], str]

    def jobs(self) -> dict[str, Any]:
        """Open jobs by state; `at_work` are those of this process, `oldest_due_age_seconds` how long one is due."""
        counts, due = self.read(lambda db: (self.runs.jobs.counts(db), self.runs.jobs.next_at(db, self.now())))
        age = self._since(due)
        shown = {**counts, "at_work": self.runs.worker.at_work, "oldest_due_age_seconds": age}
        if counts["held"]:
            told = "jobs are held since a backup was restored; `metawsm.pyz jobs release` lets them begin"
            return {"status": "attention", "error": told, **shown}
        if age > OVERDUE_SECONDS:
            return {"status": "attention", "error": f"a job is due for {age:.0f} s and has not begun", **shown}
        return {"status": "ok", **shown}

    def agents(self) -> dict[str, Any]:
        """How many agents are watched; `waiting` are the reactions that cannot go on, each with its reason."""
        waiting, unseen = self.runs.faults(), self.runs.watch.fault
        shown: dict[str, Any] = {"agents_watched": self.read(count_watched)} | ({"waiting": waiting} if waiting else {})
        told = [f"reactions to events wait: {', '.join(waiting)}"] if waiting else []
        told += [f"agents cannot be looked at: {unseen}"] if unseen else []
        return {"status": "attention", "error": "; ".join(told), **shown} if told else {"status": "ok", **shown}

    def _since(self, at: str | None) -> float:
        """Seconds since a time; 0 for none, and for one that is to come."""
        if at is None:
            return 0.0
        passed = datetime.fromisoformat(self.now()) - datetime.fromisoformat(at)
        return round(max(0.0, passed.total_seconds()), 3)
