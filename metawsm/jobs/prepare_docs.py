"""A ticket has its documents in the workspace, with the run's brief among them, committed."""

from __future__ import annotations

from metawsm.bus.jobs import DOCS, Job, JobSpec, JobTools, Result, moment, on_branch, record_step, step_of
from metawsm.domain.run_brief import brief_page, brief_title, work_title

TOPICS = ("core",)
INDEX = "index.md"


def do(tools: JobTools, job: Job) -> Result:
    """Find or make the ticket's folder, and write the brief."""
    run, step = step_of(tools, job)
    place, ticket = on_branch(tools, run, step), step.args["ticket"]
    today = moment(step).date()
    folder = tools.docs.ensure(place.path / DOCS, ticket, work_title(run.brief), TOPICS, today)
    result, pages = {"documents": str(folder)}, [folder / INDEX]
    if run.brief is not None:
        page = tools.docs.add_document(
            place.path / DOCS, ticket, "reference", brief_title(run.run_id), brief_page(run.run_id, run.brief)
        )
        result["brief"] = str(page)
        pages.append(page)
    tools.git.commit_all(place, f"{ticket}: ticket documents of run {run.run_id}", [DOCS], pages)
    return result


SPEC = JobSpec("prepare_docs", do, record_step)
