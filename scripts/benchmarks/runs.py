"""Runs: what `status` takes, what looking after many agents costs, and how soon an answer is with its agent."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import at, median
from benchmarks.servers import Daemon, daemon_command, folder, until

REPOS = ("alpha", "beta", "gamma")
TICK = os.sysconf("SC_CLK_TCK")
# It prints now and then, as an agent at work does.
WORKER = "while :; do echo working; sleep 20; done"
ASKER = r"""
i=0
while [ $i -lt {rounds} ]; do
    metawsm forum signal --type guidance_request --question "v1 or v2?" >/dev/null
    metawsm forum wait >/dev/null
    date +%s%N >>{arrivals}
    i=$((i + 1))
done
sleep 100000
"""


class Project:
    """A folder with repositories, a policy and a daemon; its own tmux server."""

    def __init__(self, here: Path, daemon: Daemon, socket: str) -> None:
        self.here, self.daemon, self.socket = here, daemon, socket
        self._token = (here / ".metawsm" / "token").read_text().strip()

    def post(self, path: str, **body: Any) -> Any:
        """A write as a person; its JSON."""
        head = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=60)
        connection.request("POST", f"/api/v1{path}", json.dumps({"actor_type": "human", **body}), head)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path}: {answer.status} {told}")
        return told

    def start(self, ticket: str, repos: tuple[str, ...]) -> str:
        """Ask for a run; its id."""
        return str(self.post("/runs", tickets=[ticket], repos=list(repos))["run"]["run_id"])

    def run(self, run_id: str) -> Any:
        """The run as REST shows it."""
        return self.daemon.get(f"/api/v1/runs/{run_id}")[1]["run"]

    def is_running(self, run_id: str) -> bool:
        """Whether it has begun. Raises RuntimeError when it never will."""
        run = self.run(run_id)
        if run["state"] == "failed":
            raise RuntimeError(run["reason"])
        return run["state"] in ("running", "awaiting_guidance")

    def cpu(self) -> float:
        """Processor seconds of the daemon, of the programs it has started and seen end, and of tmux."""
        tmux = subprocess.run(
            ["tmux", "-L", self.socket, "display-message", "-p", "#{pid}"], capture_output=True, text=True, check=True
        )
        return _ticks(self.daemon.popen.pid, 4) + _ticks(int(tmux.stdout), 2)


def _ticks(pid: int, fields: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in stat[11 : 11 + fields]) / TICK


@contextmanager
def project(agents: dict[str, str]) -> Iterator[Project]:
    """A project whose agents are these scripts."""
    socket = f"mwsm-bench-{os.getpid()}"
    with folder() as here:
        for name in REPOS:
            _repository(here / "repos" / name)
        for name, script in agents.items():
            (here / f"agent-{name}").write_text(f"#!/bin/sh\n{script}\n")
            (here / f"agent-{name}").chmod(0o755)
        _policy(here, socket, list(agents))
        try:
            with Daemon(here, "--redis", "embedded://") as daemon:
                yield Project(here, daemon, socket)
        finally:
            subprocess.run(["tmux", "-L", socket, "kill-server"], check=False, capture_output=True)


def _repository(place: Path) -> None:
    place.mkdir(parents=True)
    for number in range(200):
        (place / f"file-{number}.txt").write_text(f"{number}\n" * 50)
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.invalid")
    for command in (("init", "-q", "-b", "main"), ("add", "--all"), (*who, "commit", "-qm", "begin")):
        subprocess.run(["git", "-C", str(place), *command], check=True)


def _policy(here: Path, socket: str, agents: list[str]) -> None:
    profiles = [
        {"name": f"p-{name}", "runner": "shell", "runner_options": {"command": f"exec '{here}/agent-{name}'"}}
        for name in agents
    ]
    policy = {
        "version": 2,
        "tmux": {"socket": socket},
        "workspace": {"repo_roots": ["../repos"]},
        "agent_profiles": profiles,
        "agents": [{"name": name, "profile": f"p-{name}"} for name in agents],
    }
    (here / ".metawsm").mkdir()
    (here / ".metawsm" / "policy.json").write_text(json.dumps(policy))


def status(rounds: int) -> dict[str, Any]:
    """Milliseconds of `status` from the shell, for a run with 4 agents and 3 repositories."""
    with project({f"agent{n}": WORKER for n in range(4)}) as made:
        run_id = made.start("MET-1", REPOS)
        until(lambda: made.is_running(run_id), 60, 0.1)
        command = [*daemon_command(), "status", "--run-id", run_id, "--server", f"http://127.0.0.1:{made.daemon.port}"]
        times = sorted(_timed(command, made.daemon.environment) for _ in range(rounds))
        bare = median(_timed([daemon_command()[0], "-I", "-S", "-c", ""], {}) for _ in range(rounds))
    return {"p50": at(times, 0.5), "p95": at(times, 0.95), "interpreter": bare}


def _timed(command: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    return (time.perf_counter() - begun) * 1000


def supervise(runs: int, seconds: float) -> dict[str, Any]:
    """Percent of one processor that looking after runs of 4 agents takes, programs that are called included."""
    with project({f"agent{n}": WORKER for n in range(4)}) as made:
        made_runs = [made.start(f"MET-{n}", (REPOS[n % 3],)) for n in range(runs)]
        for run_id in made_runs:
            until(lambda run_id=run_id: made.is_running(run_id), 600, 0.2)  # type: ignore[misc]
        time.sleep(5.0)  # what the starts have left behind is done
        before, begun = made.cpu(), time.monotonic()
        time.sleep(seconds)
        used, took = made.cpu() - before, time.monotonic() - begun
    return {"runs": runs, "agents": 4 * runs, "seconds": took, "percent": 100 * used / took}


def answers(rounds: int) -> dict[str, Any]:
    """Milliseconds from sending an answer until the program of the agent that waits for it goes on."""
    with project({"bob": "exec sleep 1"}) as made:
        arrivals = made.here / "arrivals"
        (made.here / "agent-bob").write_text("#!/bin/sh\n" + ASKER.format(rounds=rounds, arrivals=arrivals))
        run_id = made.start("MET-1", REPOS[:1])
        sent = []
        for number in range(rounds):
            until(lambda: made.run(run_id)["guidance"], 30, 0.01)
            time.sleep(0.6)  # the agent follows the stream by now
            signal = {"control_type": "guidance_answer", "answer": "v2"}
            sent.append(time.time())
            made.post("/forum/control/signal", run_id=run_id, ticket="MET-1", agent_name="bob", payload=signal)
            until(lambda number=number: _lines(arrivals) > number, 30, 0.01)  # type: ignore[misc]
        got = [int(line) / 1e9 for line in arrivals.read_text().split()]
    times = sorted((g - s) * 1000 for g, s in zip(got, sent, strict=True))
    return {"p50": at(times, 0.5), "p95": at(times, 0.95), "rounds": rounds}


def _lines(file: Path) -> int:
    return len(file.read_text().split()) if file.exists() else 0
