"""An answer is brought to the pane of an agent that does not listen: as a line that reads it, or as the text itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from metawsm.bus.jobs import Job, JobSpec, JobTools, Later, Result
from metawsm.bus.outside import Pane

LINE = "metawsm forum inbox"
QUIET_SECONDS = 2.0  # without output for so long, the agent is idle
AGAIN_SECONDS = 5.0
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh", "tcsh", "csh", "ash", "busybox", "nu", "pwsh"})
"""Programs that would run a pasted text: an answer is never pasted into them."""


def do(tools: JobTools, job: Job) -> Result:
    """Deliver it as the agent's profile says, once the agent is idle; what it has read by then is left alone."""
    payload = job.payload
    if tools.reads.is_read(payload["post_id"]):
        return {}
    agent = tools.reads.run(payload["run_id"]).agent(payload["agent"])
    pane = tools.tmux.panes().get(agent.session) if agent is not None and agent.alive else None
    if agent is None or pane is None or pane.dead or pane.owner != tools.mark(payload["run_id"], agent.name):
        return {}
    delivery = tools.profile(agent.profile).delivery
    if delivery == "none":
        return {}
    if agent.folder and tools.launcher.exit(Path(agent.folder)).ended is not None:
        return {}  # what is in front now is a shell for people
    if abs(time.time() - pane.activity) < QUIET_SECONDS:  # a clock that was set back leaves activity in the future
        raise Later(AGAIN_SECONDS, f"agent {agent.name} is busy")
    return {"how": _deliver(tools, job, pane, delivery)}


def _deliver(tools: JobTools, job: Job, pane: Pane, delivery: str) -> str:
    if delivery == "paste" and pane.command not in SHELLS:
        how, arrived = "paste", tools.tmux.paste(pane.session, tools.reads.answer(job.payload["post_id"]))
    else:
        how, arrived = "line", tools.tmux.type_line(pane.session, LINE)
    if not arrived:
        raise Later(AGAIN_SECONDS, f"nothing can be typed into session {pane.session} now")
    return how


def record(job: Job, state: str, error: str | None, result: Result | None) -> tuple[str, dict[str, Any]] | None:
    """The delivery, if there was one."""
    how = (result or {}).get("how")
    if not how:
        return None
    told = {"thread_id": job.payload["thread_id"], "post_id": job.payload["post_id"], "how": how}
    return "record_delivery", told | {"reader_name": job.payload["agent"]}


SPEC = JobSpec("deliver_answer", do, record)
