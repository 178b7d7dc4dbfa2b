"""An answer is brought to the pane of an agent that does not listen: as a line that reads it, or as the text itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from metawsm.bus.jobs import Job, JobSpec, JobTools, Later, Result
from metawsm.bus.outside import Pane
from metawsm.domain.run import RunAgent

LINE = "metawsm forum inbox"
QUIET_SECONDS = 2.0  # without output for so long, the agent is idle
AGAIN_SECONDS = 5.0


def do(tools: JobTools, job: Job) -> Result:
    """Deliver it as the agent's profile says, once the agent is idle; what it has read by then is left alone.

    A text that may have been pasted before, by a process that died over it, is not pasted twice: the line, which is
    harmless twice, says that it is there.
    """
    found = _waits(tools, job)
    if found is None:
        return {}
    agent, pane = found
    if abs(time.time() - pane.activity) < QUIET_SECONDS:  # a clock that was set back leaves activity in the future
        raise Later(AGAIN_SECONDS, f"agent {agent.name} is busy")
    return {"how": _deliver(tools, job, agent, pane)}


def _waits(tools: JobTools, job: Job) -> tuple[RunAgent, Pane] | None:
    """The agent that has not got the answer, with its pane; None where there is nothing to be done."""
    payload = job.payload
    if tools.reads.is_read(payload["post_id"]):
        return None
    agent = tools.reads.run(payload["run_id"]).agent(payload["agent"])
    pane = tools.tmux.panes().get(agent.session) if agent is not None and agent.alive else None
    if agent is None or pane is None or pane.dead or pane.owner != tools.mark(payload["run_id"], agent.name):
        return None
    if tools.profile(agent.profile).delivery == "none":
        return None
    if agent.folder and tools.launcher.exit(Path(agent.folder)).ended is not None:
        return None  # what is in front now is a shell for people
    return agent, pane


def _deliver(tools: JobTools, job: Job, agent: RunAgent, pane: Pane) -> str:
    profile = tools.profile(agent.profile)
    command = "codex" if profile.runner == "codex" else profile.command
    wanted = profile.delivery == "paste" and job.attempt == 1 and not job.payload.get("as_line")
    if wanted and tools.launcher.takes_text(pane.command, command):
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
