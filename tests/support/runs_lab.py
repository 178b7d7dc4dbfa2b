"""A project with real git repositories, a daemon, a tmux server of its own, and agents that are programs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.shell import environment

BRIEF = {
    "goal": "Greet in every repository.",
    "scope": "A greeting file; nothing else.",
    "done_criteria": "each repository has a greeting",
    "constraints": "No other file changes.",
}
PERSON = {"actor_type": "human", "actor_name": "kb"}
GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.invalid")

# An agent as a program: it asks, sleeps until it is answered, works, reports. It knows nothing but its environment.
AGENT = r"""#!/bin/sh
set -eu
metawsm forum signal --type guidance_request --question "Which greeting, $METAWSM_AGENT?"
answer=$(metawsm forum wait)
for repo in ../*/; do
    printf '%s\n' "$answer" >"$repo/greeting-$METAWSM_AGENT.txt"
    git -C "$repo" add --all
    git -C "$repo" -c user.name="$METAWSM_AGENT" -c user.email=agent@example.invalid commit -qm "greeting"
done
metawsm forum signal --type completion --summary "greeted"
metawsm forum signal --type validation --status passed --done-criteria "each repository has a greeting"
"""


class Lab:
    """`folder` holds the project: `repos/alpha`, `repos/beta`, `.metawsm/policy.json`. Use it as a context manager."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str] | None = None,
        agents: Mapping[str, str] | None = None,
        policy: Mapping[str, Any] | None = None,
        repos: Sequence[str] = ("alpha", "beta"),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.command = command
        self.env = dict(env or {})
        self.socket = f"mwsm-test-{os.getpid()}-{folder.name[-20:]}"
        self.repos = {name: repository(folder / "repos" / name) for name in repos}
        self._write_agents(agents or {"bob": AGENT})
        self._write_policy(agents or {"bob": AGENT}, policy or {})
        self.daemon = Daemon(command, folder, "--redis", "embedded://", env=env)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.daemon.end()
        self.tmux("kill-server")

    def _write_agents(self, agents: Mapping[str, str]) -> None:
        for name, text in agents.items():
            script = self.folder / f"agent-{name}"
            script.write_text(text)
            script.chmod(0o755)

    def _write_policy(self, agents: Mapping[str, str], more: Mapping[str, Any]) -> None:
        policy: dict[str, Any] = {
            "version": 2,
            "tmux": {"socket": self.socket},
            "workspace": {"repo_roots": ["../repos"]},
            "health": {"check_seconds": 1, "progress_check_seconds": 1},
            "agent_profiles": [
                {"name": f"p-{name}", "runner": "shell",
                 "runner_options": {"command": f"exec '{self.folder}/agent-{name}'"}}
                for name in agents
            ],
            "agents": [{"name": name, "profile": f"p-{name}"} for name in agents],
        }  # fmt: skip
        (self.folder / ".metawsm").mkdir(exist_ok=True)
        (self.folder / ".metawsm" / "policy.json").write_text(json.dumps(policy | dict(more)))

    def tmux(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command to this lab's own tmux server."""
        return subprocess.run(["tmux", "-L", self.socket, *arguments], capture_output=True, text=True, timeout=20)

    def sessions(self) -> list[str]:
        """The names of its sessions."""
        return self.tmux("list-sessions", "-F", "#{session_name}").stdout.split()

    def metawsm(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The command line of a person in the project's folder."""
        return subprocess.run(
            [*self.daemon.command, *arguments],
            cwd=self.folder, input=stdin, capture_output=True, text=True, timeout=120, env=self.environment,
        )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a person's shell."""
        return environment(METAWSM_SERVER=self.daemon.url)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query says of the database."""
        with contextlib.closing(sqlite3.connect(f"file:{self.daemon.database}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()

    def post(self, path: str, **body: Any) -> Any:
        """A write by a person; its JSON answer."""
        reply = self.daemon.request("POST", path, PERSON | body)
        assert reply.status in (200, 201), reply.text
        return reply.body

    def start(self, **body: Any) -> str:
        """A run over both repositories; its id."""
        wish = {"tickets": ["MET-1"], "repos": list(self.repos)} | body
        return str(self.post("/runs", **wish)["run"]["run_id"])

    def bootstrap(self, **body: Any) -> str:
        """A bootstrap run over both repositories; its id."""
        return self.start(mode="bootstrap", **BRIEF, **body)

    def run(self, run_id: str) -> Any:
        """The run as REST shows it."""
        return self.daemon.request("GET", f"/runs/{run_id}").body["run"]

    def until(self, run_id: str, *states: str, timeout: float = 30.0) -> Any:
        """Wait until the run is in one of the states; the run."""

        def look() -> Any:
            run = self.run(run_id)
            assert run["state"] in states, (run["state"], run.get("reason"), run["steps"])
            return run

        return eventually(look, timeout=timeout, interval=0.1)

    def ended(self, run_id: str, action: str, state: str = "done") -> list[Any]:
        """Wait until each step of an action is in a state; the steps."""

        def look() -> list[Any]:
            steps = [step for step in self.run(run_id)["steps"] if step["action"] == action]
            assert steps and {step["state"] for step in steps} == {state}, steps
            return steps

        return eventually(look, timeout=60, interval=0.1)

    def checkouts(self, run_id: str) -> list[Path]:
        """The run's checkouts, the one with the documents first."""
        run = self.run(run_id)
        return [Path(workspace["path"], repo) for workspace in run["workspaces"] for repo in run["repos"]]

    def answer(self, run_id: str, agent: str = "bob", text: str = "hello") -> None:
        """What a person answers to an agent's request."""
        signal = {"control_type": "guidance_answer", "answer": text}
        ticket = next(a["ticket"] for a in self.run(run_id)["agents"] if a["name"] == agent)
        self.post("/forum/control/signal", run_id=run_id, ticket=ticket, agent_name=agent, payload=signal)


def slow_programs(folder: Path, seconds: float) -> str:
    """A search path on which git and tmux are the real ones, but begin only after a while."""
    folder.mkdir()
    for name in ("git", "tmux"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nsleep {seconds}\nexec {shutil.which(name)} "$@"\n')
        script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def repository(place: Path) -> Path:
    """A git repository with one commit on `main`."""
    place.mkdir(parents=True)
    git(place, "init", "-q", "-b", "main")
    (place / "README.md").write_text(f"# {place.name}\n")
    git(place, "add", "--all")
    git(place, "commit", "-qm", "begin")
    return place


def git(place: Path, *arguments: str) -> str:
    """Run git there; its output."""
    done = subprocess.run([*GIT, "-C", str(place), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit_readme(place: Path, text: str) -> str:
    """Commit other words in the README; the commit."""
    (place / "README.md").write_text(f"{text}\n")
    git(place, "commit", "-qam", text)
    return git(place, "rev-parse", "HEAD")
