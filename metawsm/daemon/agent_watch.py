"""Looks at agents on a clock: their sessions often, their checkouts now and then. What is news becomes a command."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool

from metawsm.bus.internal import Internal
from metawsm.bus.outside import Exit, Git, Launcher, Pane, Tmux
from metawsm.bus.ports import Db, Writer
from metawsm.bus.work import Queued
from metawsm.domain.errors import OutsideError, Unavailable
from metawsm.domain.run_health import Seen, Thresholds, state_of
from metawsm.domain.view import timestamp
from metawsm.storage.run_reads import Watched, save_checkout, save_measures, watched_agents, watched_places

AT_ONCE = 2  # checkouts that are looked at side by side
log = logging.getLogger("metawsm.agents")


class AgentWatch:
    """The two loops. `read(query)` is a short query; `on_commands` hears of the commands that tell what is news."""

    def __init__(
        self,
        writer: Writer,
        read: Callable[[Callable[[Db], Any]], Any],
        tmux: Tmux,
        git: Git,
        launcher: Launcher,
        internal: Internal,
        thresholds: Thresholds,
        on_commands: Callable[[Sequence[Queued]], None],
    ) -> None:
        self._writer = writer
        self._read = read
        self._tmux = tmux
        self._git = git
        self._launcher = launcher
        self._internal = internal
        self._thresholds = thresholds
        self._on_commands = on_commands
        self._noted: dict[tuple[str, str], float] = {}
        self._faults: dict[str, str] = {}

    @property
    def fault(self) -> str | None:
        """Why agents cannot be looked at, None while they can."""
        return "; ".join(self._faults.values()) or None

    def sessions(self, seconds: float) -> None:
        """The loop over sessions; ends only by being killed."""
        while True:
            self._try("sessions", self.look_at_sessions)
            gevent.sleep(seconds)

    def checkouts(self, seconds: float) -> None:
        """The loop over checkouts; ends only by being killed."""
        while True:
            gevent.sleep(seconds)
            self._try("checkouts", self.look_at_checkouts)

    def _try(self, what: str, look: Callable[[], None]) -> None:
        """What cannot be seen leaves everything as it is known."""
        try:
            look()
            self._faults.pop(what, None)
        except (OutsideError, Unavailable) as error:
            if self._faults.get(what) != error.message:
                log.warning("agents cannot be looked at: %s", error.message)
            self._faults[what] = error.message

    def look_at_sessions(self) -> None:
        """One look at every session, in one call of tmux."""
        agents: list[Watched] = self._read(watched_agents)
        if not agents:
            return
        panes, now = self._tmux.panes(), time.time()
        news: dict[str, dict[str, Any]] = {}
        measures = []
        for agent in agents:
            seen = self._seen(agent, panes.get(agent.session))
            state, reason = state_of(seen, now, self._thresholds)
            if state != agent.state:
                told = {"state": state, "reason": reason, "exit_code": seen.exit_code, "state_since": agent.state_since}
                news.setdefault(agent.run_id, {})[agent.name] = told
            if seen.activity is not None and self._is_new(agent, seen.activity):
                measures.append((agent.run_id, agent.name, _text(seen.activity), None))
        self._store(measures, news)

    def _seen(self, agent: Watched, pane: Pane | None) -> Seen:
        end = self._launcher.exit(Path(agent.folder)) if agent.folder else Exit()
        return Seen(
            session=pane is not None and not pane.dead,
            ended=end.ended is not None,
            exit_code=end.code,
            activity=pane.activity if pane else None,
            progress=max(_seconds(agent.progress_at), end.started or 0.0) or None,
        )

    def _is_new(self, agent: Watched, activity: float) -> bool:
        place = (agent.run_id, agent.name)
        if self._noted.get(place) == activity:
            return False
        self._noted[place] = activity
        return True

    def _store(self, measures: Sequence[Any], news: Mapping[str, dict[str, Any]]) -> None:
        """The measures, and a command for each run of which there is news, in one commit."""
        if not measures and not news:
            return
        now = self._internal.tools.now()

        def store(db: Db) -> list[Queued]:
            save_measures(db, measures, now)
            commands = (
                self._internal.insert(db, "record_agents", {"run_id": run, "seen": seen}, f"seen:{run}:{now}")
                for run, seen in news.items()
            )
            return [command for command in commands if command is not None]

        queued = self._writer.run(store)
        if queued:
            self._on_commands(queued)

    def look_at_checkouts(self) -> None:
        """One look at each checkout of runs with an agent at work: its changed files, and when work last moved."""
        pool = Pool(AT_ONCE)
        for run_id, workspaces, repos in self._read(watched_places):
            for workspace in json.loads(workspaces):
                places = [(repo, Path(workspace["path"], repo)) for repo in json.loads(repos)]
                pool.spawn(self._look_at_workspace, run_id, workspace["name"], places)
        pool.join()

    def _look_at_workspace(self, run_id: str, workspace: str, places: Sequence[tuple[str, Path]]) -> None:
        found = {repo: self._checkout(place) for repo, place in places}
        newest = max((told["last_change_at"] for told in found.values() if told.get("last_change_at")), default=None)
        agents = [a for a in self._read(watched_agents) if (a.run_id, a.workspace) == (run_id, workspace)]
        now = self._internal.tools.now()

        def store(db: Db) -> None:
            for repo, told in found.items():
                save_checkout(db, (run_id, workspace, repo), told, now)
            save_measures(db, [(run_id, agent.name, None, newest) for agent in agents], now)

        try:
            self._writer.run(store)
        except Unavailable as error:
            log.warning("what was seen of %s could not be kept: %s", workspace, error.message)

    def _checkout(self, place: Path) -> dict[str, Any]:
        try:
            changes, last = self._git.look(place)
        except OutsideError as error:
            return {"files": [], "more": 0, "error": error.message}
        return {"files": changes.files, "more": changes.more, "last_change_at": _text(last)}


def _text(moment: float) -> str:
    return timestamp(datetime.fromtimestamp(moment, UTC))


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
