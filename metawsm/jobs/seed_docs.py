"""A ticket's documents are copied from the main checkout into the workspace, uncommitted ones included."""

from __future__ import annotations

from pathlib import Path

from metawsm.bus.jobs import DOCS, Job, JobSpec, JobTools, Result, on_branch, record_step, step_of


def do(tools: JobTools, job: Job) -> Result:
    """The revision of the copy; `none` where the ticket has no documents yet: the next step makes them."""
    run, step = step_of(tools, job)
    source, ticket = Path(run.repositories[step.args["repo"]], DOCS), step.args["ticket"]
    if tools.docs.find(source, ticket) is None:
        return {"revision": "none"}
    place = on_branch(tools, run, step)
    seeded = tools.docs.seed(source, place.path / DOCS, ticket)
    tools.git.commit_all(place, f"{ticket}: ticket documents", [DOCS])
    return {"revision": seeded.revision}


SPEC = JobSpec("seed_docs", do, record_step)
