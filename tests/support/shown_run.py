"""A run's story as GET shows it: an hour old, so that ages can be told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from metawsm.domain.run import BOOTSTRAP
from metawsm.domain.run_plan import Wish
from metawsm.domain.run_view import run_view
from metawsm.domain.view import timestamp
from tests.support.run_settings import SETTINGS
from tests.support.run_story import BRIEF, RunStory


class ShownRun(RunStory):
    """A run `run-1` of one agent over two repositories; each of its facts is a second after the one before."""

    def __init__(self, *, mode: str = BOOTSTRAP, paused: bool = False) -> None:
        wish = Wish(mode, ("MET-1",), ("api", "web"), brief=BRIEF if mode == BOOTSTRAP else None)
        super().__init__(wish, SETTINGS, paused, "run-1")

    @property
    def now(self) -> str:
        """An hour ago, and a second more for each fact."""
        return timestamp(datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=len(self.facts)))

    def detail(self, **more: Any) -> dict[str, Any]:
        """The run as GET /runs/{id} answers it, with nothing in its forum, its checkouts and its documents."""
        forum = {"states": {}, "sla": {"waiting_count": 0, "breached_count": 0}, "threads": []}
        return run_view(self.run) | {"checkouts": [], "docs": [], "guidance": [], "forum": forum} | more
