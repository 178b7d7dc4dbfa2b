"""An agent's session is begun, in place of an earlier one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import attrs

from metawsm.bus.jobs import Job, JobSpec, JobTools, Profile, Result, checkout, has_session, record_step, step_of
from metawsm.bus.outside import shell_command
from metawsm.domain.errors import Obstructed, ProgramFailed
from metawsm.domain.papers import Papers, papers_of, seen_from
from metawsm.domain.run import Run, RunAgent, Step
from metawsm.domain.run_brief import prompt_of

LOOK_SECONDS, LOOK_EVERY = 0.6, 0.05  # a program that ends at once with a failure is told at once


def do(tools: JobTools, job: Job) -> Result:
    """End an earlier session of that name, begin the new one, and look whether its program fails at once."""
    run, step, agent = _subject(tools, job)
    profile, folder = tools.profile(agent.profile), _folder(tools, run, step, agent)
    where = checkout(run, step, agent.workspace).path
    command, prompt = _command(profile), _prompt(tools, profile, run, agent, where)
    argv = tools.launcher.prepare(folder, command, prompt, tools.agent_token(run.run_id, agent.name))
    _make_room(tools, run, agent)
    mark = tools.mark(run.run_id, agent.name)
    tools.tmux.start(agent.session, where, _environment(tools, run, agent), argv, mark)
    _look(tools, folder, agent)
    return _told(folder)


def inspect(tools: JobTools, job: Job) -> Result | None:
    """Whether this very step has begun the session."""
    run, step, agent = _subject(tools, job)
    folder = _folder(tools, run, step, agent)
    began = tools.launcher.exit(folder).started is not None
    return _told(folder) if began and has_session(tools, run, agent) else None


def _subject(tools: JobTools, job: Job) -> tuple[Run, Step, RunAgent]:
    run, step = step_of(tools, job)
    agent = run.agent(step.args["agent"])
    if agent is None:
        raise Obstructed(f"run {run.run_id} has no agent {step.args['agent']}")
    return run, step, agent


def _make_room(tools: JobTools, run: Run, agent: RunAgent) -> None:
    """End an earlier session of this very agent. Raises Obstructed for one that is somebody else's."""
    if has_session(tools, run, agent):
        tools.tmux.kill(agent.session)
    owner = tools.tmux.owner(agent.session)
    if owner is None:
        return
    other, _, name = owner.rpartition("~")[0].partition("~")
    whose = f"it is that of agent {name} of {other}" if owner else "this run did not begin it"
    raise Obstructed(
        f"there is a tmux session {agent.session} already, and {whose}: end it, or rename it"
        f" (tmux rename-session -t ={agent.session} NAME), and resume the run"
    )


def _folder(tools: JobTools, run: Run, step: Step, agent: RunAgent) -> Path:
    return tools.state_folder / "agents" / run.run_id / f"{agent.name}-{step.index}"


def _told(folder: Path) -> Result:
    return {"folder": str(folder)}


def _command(profile: Profile) -> tuple[str, ...]:
    if profile.runner == "codex":
        sandbox = ("--sandbox", "workspace-write") if profile.full_auto else ()
        return ("codex", "exec", "--skip-git-repo-check", *sandbox)
    return shell_command(profile.command)


def _prompt(tools: JobTools, profile: Profile, run: Run, agent: RunAgent, where: Path) -> str:
    if profile.runner != "codex":
        return ""
    skills = [str(_skill(tools, name, where)) for name in profile.skills]
    papers = Papers(*(seen_from(str(where), path) for path in attrs.astuple(papers_of(run, agent))))
    return prompt_of(profile.base_prompt, skills, run, agent, papers)


def _skill(tools: JobTools, name: str, where: Path) -> Path:
    places = (where / ".metawsm" / "skills", tools.state_folder / "skills", Path.home() / ".codex" / "skills")
    for place in places:
        if (place / name / "SKILL.md").is_file():
            return place / name / "SKILL.md"
    raise Obstructed(
        f"there is no skill {name}: neither {places[0]} nor {places[1]} nor {places[2]} has {name}/SKILL.md"
    )


def _environment(tools: JobTools, run: Run, agent: RunAgent) -> Mapping[str, str]:
    return {
        "METAWSM_SERVER": tools.server(),
        "METAWSM_RUN_ID": run.run_id,
        "METAWSM_TICKET": agent.ticket,
        "METAWSM_AGENT": agent.name,
        "METAWSM_WORKSPACE": agent.workspace,
        "METAWSM_ACTOR_TYPE": "agent",
        "METAWSM_ACTOR_NAME": agent.name,
        "METAWSM_ROUND": str(run.round),
        "METAWSM_DOCS": papers_of(run, agent).documents,
        "PATH": tools.launcher.search_path(),
    }


def _look(tools: JobTools, folder: Path, agent: RunAgent) -> None:
    until = time.monotonic() + LOOK_SECONDS
    while time.monotonic() < until:
        code = tools.launcher.exit(folder).code
        if code is not None and code != 0:
            raise ProgramFailed(
                f"the program of agent {agent.name} ended at once with exit code {code}:\n"
                f"{tools.tmux.capture(agent.session, 20).strip()}"
            )
        if code == 0 or not tools.tmux.has(agent.session):
            return
        time.sleep(LOOK_EVERY)


SPEC = JobSpec("start_session", do, record_step, inspect)
