"""What an agent has to read: where its ticket's documents are, as the steps of its run told it."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from metawsm.domain.run import Run, RunAgent
from metawsm.domain.run_plan import PREPARE_DOCS, WRITE_FEEDBACK


@frozen
class Papers:
    """Paths of the ticket's folder, of the run's brief and of the operator's feedback; empty for what there is not."""

    documents: str = ""
    brief: str = ""
    feedback: str = ""


def papers_of(run: Run, agent: RunAgent) -> Papers:
    """What the run made for this agent's ticket in this agent's workspace; of what was made twice the newest."""
    found: dict[str, str] = {}
    for kind, result in _results(run, agent):
        if kind == PREPARE_DOCS:
            found |= {name: result[name] for name in ("documents", "brief") if name in result}
        elif "page" in result:
            found["feedback"] = result["page"]
    return Papers(**found)


def _results(run: Run, agent: RunAgent) -> Iterator[tuple[str, dict[str, str]]]:
    mine = {"workspace": agent.workspace, "ticket": agent.ticket}
    for step in run.steps:
        told = step.kind in (PREPARE_DOCS, WRITE_FEEDBACK) and step.state == "done" and step.result
        if told and mine.items() <= step.args.items():
            yield step.kind, told


def seen_from(place: str, path: str) -> str:
    """A path as somebody in `place` names it: relative where it is below."""
    return path.removeprefix(f"{place}/")
