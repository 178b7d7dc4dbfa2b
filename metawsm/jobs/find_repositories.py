"""The repositories of a run are looked for, and what every later step needs is there: git and tmux."""

from __future__ import annotations

from metawsm.bus.jobs import Job, JobSpec, JobTools, Result, record_step, step_of


def do(tools: JobTools, job: Job) -> Result:
    """Where each repository's main checkout is."""
    _, step = step_of(tools, job)
    versions = {"git": tools.git.version(), "tmux": tools.tmux.version()}
    found = tools.git.find(step.args["repos"], tools.repo_roots)
    return {"repositories": {name: str(path) for name, path in found.items()}, "versions": versions}


SPEC = JobSpec("find_repositories", do, record_step)
