"""Looks at agents on a clock: their sessions often, their checkouts now and then. What is news becomes a command."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool

from metawsm.bus.internal import Internal
from metawsm.bus.outside import Checkout, Exit, Git, Launcher, Pane, Tmux
from metawsm.bus.ports import Db, Writer
from metawsm.bus.work import Queued
from metawsm.domain.errors import MetawsmError, OutsideError
from metawsm.domain.run_health import Seen, Thresholds, state_of
from metawsm.domain.view import timestamp
from metawsm.messages.json_text import to_json
from metawsm.storage.run_reads import (
    Places,
    Watched,
    newest_of_runs,
    save_checkout,
    save_measures,
    watched_agents,
    watched_places,
)

AT_ONCE = 2  # checkouts that are looked at side by side
JUMP_SECONDS = 5.0  # by which the clock and the time that passes may differ from one look to the next
Looks = Sequence[tuple[Watched, Pane | None]]
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
        mark: Callable[[str, str], str],
        on_commands: Callable[[Sequence[Queued]], None],
    ) -> None:
        self._writer = writer
        self._read = read
        self._tmux = tmux
        self._git = git
        self._launcher = launcher
        self._internal = internal
        self._thresholds = thresholds
        self._mark = mark
        self._on_commands = on_commands
        self._noted: dict[tuple[str, str], float] = {}
        self._ahead: float | None = None
        self._jumped_at = 0.0
        self._heard: int | None = None
        self._faults: dict[str, str] = {}

    @property
    def fault(self) -> str | None:
        """Why agents cannot be looked at, None while they can."""
        return "; ".join(dict.fromkeys(self._faults.values())) or None

    def sessions(self, seconds: float) -> None:
        """The loop over sessions; ends only by being killed."""
        while True:
            self._try("sessions", self.look_at_sessions)
            gevent.sleep(seconds)

    def checkouts(self, seconds: float, soon: float) -> None:
        """The loop over checkouts; ends only by being killed. Runs to which something happened are looked at `soon`."""
        due = 0.0
        while True:
            gevent.sleep(min(soon, seconds))
            every = time.monotonic() >= due
            due = time.monotonic() + seconds if every else due
            self._try("checkouts", partial(self.look_at_checkouts, every))

    def _try(self, what: str, look: Callable[[], None]) -> None:
        """What cannot be seen leaves everything as it is known."""
        try:
            look()
            self._faults.pop(what, None)
        except MetawsmError as error:
            if self._is_new_fault(what, error.message):
                log.warning("agents cannot be looked at: %s", error.message)

    def _try_one(self, what: str, look: Callable[[], None]) -> None:
        """Like `_try`, for one of many: whatever is wrong with it, the others are looked at."""
        try:
            self._try(what, look)
        except Exception as error:
            told = f"{what}: a fault of the program: {error!r}"
            if self._is_new_fault(what, told):
                log.exception("agents cannot be looked at: %s", told)

    def _is_new_fault(self, what: str, told: str) -> bool:
        """Keep why something cannot be looked at; whether that was another reason before, or none."""
        known = self._faults.get(what)
        self._faults[what] = told
        return told != known

    def _keep_faults(self, kind: str, current: Collection[str]) -> None:
        """Forget those of this kind that are not looked at any more."""
        self._faults = {
            what: told for what, told in self._faults.items() if not what.startswith(kind) or what in current
        }

    def look_at_sessions(self) -> None:
        """One look at every session, in one call of tmux."""
        agents: list[Watched] = self._read(watched_agents)
        self._keep_faults("agent ", {_agent(agent) for agent in agents})
        if not agents:
            return
        panes, now = self._tmux.panes(), time.time()
        self._mind_jumps(now)
        looks = [(agent, self._own(agent, panes.get(agent.session))) for agent in agents]
        self._store(self._measures(looks), self._news(looks, now))
        self._noted = {(agent.run_id, agent.name): pane.activity for agent, pane in looks if pane}

    def _own(self, agent: Watched, pane: Pane | None) -> Pane | None:
        """The agent's pane; that of somebody else's session by the same name is not it."""
        return pane if pane and pane.owner == self._mark(agent.run_id, agent.name) else None

    def _measures(self, looks: Looks) -> list[tuple[str, str, str | None, str | None]]:
        """Activity that was not noted before."""
        return [
            (agent.run_id, agent.name, _text(pane.activity), None)
            for agent, pane in looks
            if pane and self._noted.get((agent.run_id, agent.name)) != pane.activity
        ]

    def _news(self, looks: Looks, now: float) -> dict[str, dict[str, Any]]:
        """By run and agent: states that are others than those that are known."""
        news: dict[str, dict[str, Any]] = {}
        for agent, pane in looks:
            self._try_one(_agent(agent), partial(self._judge, agent, pane, now, news))
        return news

    def _judge(self, agent: Watched, pane: Pane | None, now: float, news: dict[str, dict[str, Any]]) -> None:
        seen = self._seen(agent, pane, now)
        state, reason = state_of(seen, now, self._thresholds)
        if state != agent.state:
            told = {"state": state, "reason": reason, "exit_code": seen.exit_code, "state_since": agent.state_since}
            news.setdefault(agent.run_id, {})[agent.name] = told

    def _mind_jumps(self, now: float) -> None:
        """While the machine sleeps nobody works, and a clock that is set tells of no silence: both count from here."""
        ahead = now - time.monotonic()
        if self._ahead is not None and abs(ahead - self._ahead) > JUMP_SECONDS:
            log.warning("the clock moved by %.0f s; agents are measured anew", ahead - self._ahead)
            self._jumped_at = now
        self._ahead = ahead

    def _counted(self, at: float, now: float) -> float:
        """Since when something counts: from before the newest jump since the jump, and nothing from the future."""
        return min(max(at, self._jumped_at), now)

    def _seen(self, agent: Watched, pane: Pane | None, now: float) -> Seen:
        end = self._launcher.exit(Path(agent.folder)) if agent.folder else Exit()
        progress = max(_seconds(agent.progress_at), end.started or 0.0)
        return Seen(
            session=pane is not None and not pane.dead,
            ended=end.ended is not None,
            exit_code=end.code,
            activity=self._counted(pane.activity, now) if pane else None,
            progress=self._counted(progress, now) if progress else None,
        )

    def _store(self, measures: Sequence[Any], news: Mapping[str, dict[str, Any]]) -> None:
        """The measures, and a command for each run of which there is news, in one commit."""
        if not measures and not news:
            return
        now = self._internal.tools.now()

        def store(db: Db) -> list[Queued]:
            save_measures(db, measures, now)
            commands = (
                self._internal.insert(db, "record_agents", {"run_id": run, "seen": seen}, _id_of(run, seen))
                for run, seen in news.items()
            )
            return [command for command in commands if command is not None]

        queued = self._writer.run(store)
        if queued:
            self._on_commands(queued)

    def look_at_checkouts(self, every: bool = True) -> None:
        """One look at checkouts: changed files, commits, when work last moved.

        `every`: at those of all runs with an agent at work, else only of those to which something happened since.
        """
        pool = Pool(AT_ONCE)
        looks = {
            f"workspace {workspace['name']} of {run.run_id}": partial(self._look_at_workspace, run, workspace)
            for run in self._read(partial(self._places, every=every))
            for workspace in json.loads(run.workspaces)
            if Path(workspace["path"]).is_dir()
        }
        if every:
            self._keep_faults("workspace ", looks)
        for what, look in looks.items():
            pool.spawn(self._try_one, what, look)
        pool.join()

    def _places(self, db: Db, every: bool) -> list[Places]:
        newest = newest_of_runs(db)
        since, self._heard = newest if self._heard is None else self._heard, newest
        return watched_places(db, since, every)

    def _look_at_workspace(self, run: Places, made: Mapping[str, str]) -> None:
        run_id, workspace = run.run_id, made["name"]
        mains = json.loads(run.repositories).items()
        places = {repo: Checkout(Path(made["path"], repo), Path(main)) for repo, main in mains}
        found = {repo: self._checkout(place, made["branch"], run.base) for repo, place in places.items()}
        newest = max((told["last_change_at"] for told in found.values() if told.get("last_change_at")), default=None)
        agents = [a for a in self._read(watched_agents) if (a.run_id, a.workspace) == (run_id, workspace)]
        now = self._internal.tools.now()

        def store(db: Db) -> None:
            for repo, told in found.items():
                save_checkout(db, (run_id, workspace, repo), told, now)
            save_measures(db, [(run_id, agent.name, None, newest) for agent in agents], now)

        self._writer.run(store)

    def _checkout(self, place: Checkout, branch: str, base: str) -> dict[str, Any]:
        try:
            changes, last = self._git.look(place)
            ahead = self._git.ahead(place.main, branch, base)
        except OutsideError as error:
            return {"files": [], "more": 0, "error": error.message}
        moved = _text(min(last, time.time()))  # an agent can give a file and a commit any time
        return {"files": changes.files, "more": changes.more, "last_change_at": moved, "ahead": ahead}


def _agent(agent: Watched) -> str:
    return f"agent {agent.name} of {agent.run_id}"


def _id_of(run_id: str, seen: Mapping[str, Any]) -> str:
    """The id of news: told again while its command waits, it is the same; of an agent that began anew it is another."""
    news = sorted((name, told["state_since"], told["state"]) for name, told in seen.items())
    return f"seen:{run_id}:{hashlib.sha256(to_json(news).encode()).hexdigest()[:32]}"


def _text(moment: float) -> str:
    return timestamp(datetime.fromtimestamp(moment, UTC))


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
