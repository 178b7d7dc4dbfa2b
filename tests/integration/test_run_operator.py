"""`operator` against a real daemon: an agent that dies is started again, as often as the budget allows."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually
from tests.support.runs_lab import Lab
from tests.support.scripted_server import ScriptedServer, answer, header, scripted
from tests.support.shell import json_body, start

SLEEPER = "#!/bin/sh\nexec sleep 1000\n"
POLICY = {
    "operator": {"unhealthy_confirmations": 1, "restart_budget": 1, "restart_cooldown_seconds": 1},
}


def test_a_dead_agent_is_restarted_within_the_budget(tmp_path: Path) -> None:
    """A dry run only tells; the first death is mended, after the second a human is asked for."""
    with Lab(tmp_path, agents={"bob": SLEEPER}, policy=POLICY) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        calm = lab.metawsm("operator", "--once")
        assert (calm.stdout, calm.stderr) == ("", "metawsm: 1 run looked at\n")
        _end_session(lab, run_id)
        dry = lab.metawsm("operator", "--once", "--dry-run")
        assert dry.stdout == f"{run_id} is restarted: bob is dead: its session is gone\n"
        assert lab.sessions() == []
        looked = lab.metawsm("operator", "--once")
        assert looked.stdout == dry.stdout, looked.stderr
        eventually(lambda: lab.run(run_id)["agents"][0]["state"] == "running", timeout=20, interval=0.1)
        assert (lab.run(run_id)["round"], lab.run(run_id)["agents"][0]["restarts"]) == (2, 1)
        _end_session(lab, run_id)
        asked = lab.metawsm("operator", "--ticket", "MET-1", "--once", "--json")
        assert '"action": "ask_human"' in asked.stdout
        assert lab.sessions() == []


def test_it_says_that_it_looks() -> None:
    """Once, when it has looked for the first time: where all is well it would else say nothing for hours."""
    with scripted(_nothing_to_do) as server:
        process = start(["operator", "--interval", "1"], METAWSM_SERVER=server.url)
        eventually(lambda: len(server.requests) > 2, timeout=20, interval=0.1)
        process.terminate()
        out, said = process.communicate(timeout=20)
    assert out == b""
    assert said.decode() == (
        "metawsm: 0 runs looked at; looks again every 1 s until interrupted, and prints what is new\n"
    )


def _nothing_to_do(server: ScriptedServer, sock: socket.socket) -> None:
    """A daemon without a run."""
    while server.read_request(sock):
        sock.sendall(answer(200, b'{"runs": []}'))


def test_what_two_operators_see_is_done_once(tmp_path: Path) -> None:
    """The second one has the same look and comes when the restart is over: under the same key it does nothing."""
    policy = {"operator": POLICY["operator"] | {"restart_budget": 5}}
    with Lab(tmp_path, agents={"bob": SLEEPER}, policy=policy) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        _end_session(lab, run_id)
        look = lab.daemon.request("GET", f"/runs/{run_id}").body
        with scripted(lambda server, sock: _late(lab, look, server, sock)) as late:
            for _ in range(2):
                looked = lab.metawsm("operator", "--run-id", run_id, "--once", "--server", late.url)
                assert (looked.returncode, looked.stderr) == (0, "metawsm: 1 run looked at\n")
                eventually(lambda: lab.run(run_id)["agents"][0]["state"] == "running", timeout=20, interval=0.1)
        assert len([request for request in late.requests if request.startswith(b"POST")]) == 2
        assert (lab.run(run_id)["round"], lab.run(run_id)["agents"][0]["restarts"]) == (2, 1)


def _late(lab: Lab, look: Any, server: ScriptedServer, sock: socket.socket) -> None:
    """A way to the daemon on which every look shows the run as it was, and what is sent arrives."""
    while request := server.read_request(sock):
        reply_status, body = 200, look
        if request.startswith(b"POST"):
            path = request.split()[1].decode()
            key = {"Idempotency-Key": header(request, "Idempotency-Key")}
            reply = lab.daemon.request("POST", path, json_body(request), key)
            reply_status, body = reply.status, reply.body
        sock.sendall(answer(reply_status, json.dumps(body).encode()))


def _end_session(lab: Lab, run_id: str) -> None:
    """The session goes, by somebody's hand, and the daemon has seen that it is gone for long enough."""
    lab.tmux("kill-session", "-t", f"={lab.run(run_id)['agents'][0]['session']}")
    eventually(lambda: lab.run(run_id)["operator"]["action"] in ("restart", "ask_human"), timeout=20, interval=0.1)
