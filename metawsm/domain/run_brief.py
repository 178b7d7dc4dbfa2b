"""The texts a run hands over: the brief as a page, titles, and what an agent is told first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metawsm.domain.papers import Papers
from metawsm.domain.run import Run, RunAgent
from metawsm.domain.run_events import Brief

_TITLE_LIMIT = 72
NO_PAPERS = Papers()
QUESTIONS = (
    ("goal", "Goal", "What is to be reached?"),
    ("scope", "Scope", "What belongs to it, and what does not?"),
    ("done_criteria", "Done Criteria", "What must hold at the end?"),
    ("constraints", "Constraints", "What must not happen?"),
    ("merge_intent", "Merge Intent", "How is the work to be merged?"),
)
"""The intake of a bootstrap run: field, heading, question."""


def work_title(brief: Brief | None) -> str:
    """The title of a ticket that a run makes documents for."""
    goal = " ".join(brief.goal.split()).removesuffix(".") if brief else ""
    return goal[:_TITLE_LIMIT].strip() or "Work"


def brief_title(run_id: str) -> str:
    """The title of a run's brief among the ticket's documents."""
    return f"Bootstrap brief {run_id}"


def brief_page(run_id: str, brief: Brief) -> str:
    """The brief in Markdown."""
    answers = [(heading, question, getattr(brief, name).strip()) for name, heading, question in QUESTIONS]
    sections = [f"## {heading}\n\n{answer}" for heading, _, answer in answers]
    asked = [f"{n}. Q: {question}\n   A: {_folded(answer)}" for n, (_, question, answer) in enumerate(answers, 1)]
    return "\n\n".join(["# Bootstrap Brief", f"Run ID: {run_id}", *sections, "## Intake Q/A", "\n".join(asked)]) + "\n"


def _folded(text: str) -> str:
    return "\n      ".join(text.splitlines())


_VALIDATE = (
    ' and `metawsm forum signal --type validation --status passed --done-criteria "..."` with the done criteria of the'
    " brief, word for word."
)


def prompt_of(base: str, skills: Sequence[str], run: Run, agent: RunAgent, papers: Papers = NO_PAPERS) -> str:
    """What an agent is told first: its profile's prompt, its skills, what there is, and how it asks and reports.

    `papers` are named as from the agent's checkout.
    """
    parts = [base.strip()]
    if skills:
        parts.append("Read and follow these skills before you begin:\n" + "\n".join(f"- {path}" for path in skills))
    parts.append(
        f"You are agent {agent.name} of run {run.run_id} on ticket {agent.ticket}, round {run.round}."
        f" {' '.join(_surroundings(run, papers))}"
        ' When you need a decision: `metawsm forum signal --type guidance_request --question "..."`, then'
        " `metawsm forum wait`. Read what was answered with `metawsm forum inbox`. When you are done, commit, then"
        ' `metawsm forum signal --type completion --summary "..."`' + (_VALIDATE if run.brief else ".")
    )
    return "\n\n".join(part for part in parts if part)


def _surroundings(run: Run, papers: Papers) -> Iterator[str]:
    """A sentence for each thing that lies around the agent."""
    yield f"The ticket's documents are in {papers.documents or 'ttmp/'} in this repository."
    if papers.brief:
        yield f"What is to be done says the brief of this run: {papers.brief}."
    others = [f"../{repo}" for repo in run.repos if repo != run.doc_home_repo]
    if others:
        yield f"The other repositories of this run lie beside this one: {', '.join(others)}."
    if papers.feedback:
        yield f"The operator wants something changed: {papers.feedback} says what to do now, the newest entry last."
