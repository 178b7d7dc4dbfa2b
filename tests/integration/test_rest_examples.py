"""The examples of the REST page, typed in: a run is begun, and its agent's question is answered."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.support import sources
from tests.support.run_mishaps import SLEEPER
from tests.support.runs_lab import Lab


def example(path: str) -> str:
    """The command of the page that calls this path."""
    page = (sources.ROOT / "docs" / "reference" / "rest.md").read_text(encoding="utf-8")
    commands = re.split(r"^(?=curl )", page.split("```sh\n")[1].split("```")[0], flags=re.MULTILINE)
    (found,) = (command for command in commands if f"/api/v1{path} " in command)
    return found


def typed(lab: Lab, command: str) -> Any:
    """What the daemon answers to it; only the address is another one."""
    here = command.replace("http://127.0.0.1:3001", lab.daemon.url)
    done = subprocess.run(["sh", "-c", here], cwd=lab.folder, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def test_a_run_from_its_start_to_an_answer(tmp_path: Path) -> None:
    """Both commands do what stands there, with the run's id in its place."""
    with Lab(tmp_path, agents={"bob": SLEEPER}, repos=("api",)) as lab:
        run = typed(lab, example("/runs"))["run"]
        assert (run["mode"], run["tickets"], run["brief"]["goal"]) == ("bootstrap", ["MET-1"], "One schema")
        lab.until(run["run_id"], "running")
        ask = {"control_type": "guidance_request", "question": "v1 or v2?"}
        lab.post("/forum/control/signal", run_id=run["run_id"], ticket="MET-1", agent_name="bob", payload=ask)
        lab.until(run["run_id"], "awaiting_guidance")
        answered = typed(lab, example("/forum/control/signal").replace("run-...", run["run_id"]))
        assert answered["thread"]["state"] == "answered"
        lab.until(run["run_id"], "running")
