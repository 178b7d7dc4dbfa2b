"""What the operator wants changed is put among the ticket's documents, where agents read it."""

from __future__ import annotations

from metawsm.bus.jobs import DOCS, Job, JobSpec, JobTools, Result, moment, on_branch, record_step, step_of
from metawsm.domain.run_brief import work_title


def do(tools: JobTools, job: Job) -> Result:
    """Add one entry for this step and commit it; documents that are not there any more are made anew."""
    run, step = step_of(tools, job)
    place, ticket = on_branch(tools, run, step), step.args["ticket"]
    tools.docs.ensure(place.path / DOCS, ticket, work_title(run.brief), (), moment(step).date())
    page = tools.docs.append_feedback(place.path / DOCS, ticket, moment(step), step.args["feedback"])
    tools.git.commit_all(place, f"{ticket}: operator feedback, round {run.round}", [DOCS], [page])
    return {"page": str(page)}


SPEC = JobSpec("write_feedback", do, record_step)
