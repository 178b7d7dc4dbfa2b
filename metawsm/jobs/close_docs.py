"""The ticket's documents say that it is complete, committed on the run's branch."""

from __future__ import annotations

from metawsm.bus.jobs import DOCS, Job, JobSpec, JobTools, Result, moment, on_branch, record_step, step_of


def do(tools: JobTools, job: Job) -> Result:
    """Set the status, add to the changelog; closing again in the same round changes nothing."""
    run, step = step_of(tools, job)
    place, ticket = on_branch(tools, run, step), step.args["ticket"]
    tools.docs.close(place.path / DOCS, ticket, step.args["entry"], moment(step).date())
    commit = tools.git.commit_all(place, f"{ticket}: closed by run {run.run_id}", [DOCS])
    return {"commit": commit} if commit else {}


SPEC = JobSpec("close_docs", do, record_step)
