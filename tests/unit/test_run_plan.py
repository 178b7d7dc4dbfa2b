"""Plans of runs: names that never clash, and the steps of each action."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from metawsm.domain import run_actions
from metawsm.domain.errors import InvalidFields
from metawsm.domain.names import branch_fault, name_fault
from metawsm.domain.run_events import PlannedStep, RunCreated
from metawsm.domain.run_plan import Settings, Wish, plan_run, session_name, token_of
from tests.support.run_settings import SETTINGS
from tests.support.run_story import TWO_AGENTS, TWO_TICKETS, WISH, RunStory, in_state

OURS = "run-0190b2c3-d4e5-7f60-8123-456789abcdef"


def kinds(steps: tuple[PlannedStep, ...] | list[PlannedStep]) -> list[str]:
    """The kinds of steps, each with the agent, ticket or workspace it is about."""
    return [f"{s.kind} {s.args.get('agent') or s.args.get('ticket') or s.args.get('workspace') or ''}" for s in steps]


def plan(*tickets: str, settings: Settings = TWO_AGENTS, run_id: str = OURS, **wish: Any) -> RunCreated:
    """A plan for tickets."""
    return plan_run(run_id, attrs.evolve(WISH, tickets=tickets, **wish), settings)


def test_a_plan_has_its_names_and_steps() -> None:
    """Repositories, workspace, documents, then the sessions, in this order."""
    fact = plan("MET-1")
    (workspace,) = fact.workspaces
    assert attrs.astuple(workspace) == (
        "met-1-89abcdef", "MET-1", "task/met-1-89abcdef", "/srv/workspaces/met-1-89abcdef",
    )  # fmt: skip
    assert [(a.name, a.profile, a.session) for a in fact.agents] == [
        ("ann", "shell", "ann-met-1-89abcdef"),
        ("bob", "codex", "bob-met-1-89abcdef"),
    ]
    assert kinds(fact.steps) == [
        "find_repositories ", "create_workspace met-1-89abcdef", "prepare_docs MET-1", "start_session ann",
        "start_session bob",
    ]  # fmt: skip
    assert {step.action for step in fact.steps} == {"start"}
    assert (fact.doc_home_repo, fact.base, fact.strategy, fact.seeded) == ("app", "main", "create", False)


def test_a_wish_overrides_the_settings() -> None:
    """Base, strategy, home of the documents and the choice of agents."""
    fact = plan("M", base="v2", strategy="fork", source="old", doc_home_repo="docs", agents=("bob",))
    assert (fact.base, fact.strategy, fact.doc_home_repo) == ("v2", "fork", "docs")
    assert [agent.name for agent in fact.agents] == ["bob"]
    assert fact.steps[1].args == {"workspace": "m-89abcdef", "strategy": "fork", "source": "old"}


def test_a_fork_is_merged_into_what_it_was_forked_from() -> None:
    """Unless a base is named: by the names we give at first, then as its making finds it."""
    wish = attrs.evolve(WISH, strategy="fork", source="old")
    story = RunStory(wish)
    assert story.run.base == "task/old"
    assert story.run.steps[1].args["base"] == "of source"
    story.until("create_workspace").end(workspace_path="/w", branch="task/x", base="feature/a")
    assert story.run.base == "feature/a"
    assert RunStory(attrs.evolve(wish, base="main")).rest().run.base == "main"
    assert RunStory(attrs.evolve(wish, strategy="reuse")).rest().run.base == "main"


def test_a_base_is_a_local_branch() -> None:
    """`origin/main` names where work starts from; merged is into `main`, which need not know its remote."""
    assert plan("MET-1", base="origin/main").base == "main"
    assert plan("MET-1", settings=attrs.evolve(SETTINGS, base="origin/next")).base == "next"


def test_seeding_comes_before_the_documents() -> None:
    """Per ticket: copy what is there, then make what is missing; every ticket in its own workspace alone."""
    fact = plan("A", "B", settings=attrs.evolve(TWO_AGENTS, seeded=True))
    documents = [step for step in fact.steps if step.kind in ("seed_docs", "prepare_docs")]
    assert kinds(documents) == ["seed_docs A", "prepare_docs A", "seed_docs B", "prepare_docs B"]
    assert [s.args["workspace"] for s in documents] == ["a-89abcdef"] * 2 + ["b-89abcdef"] * 2


def test_with_several_tickets_each_agent_is_there_once_for_each() -> None:
    """Its name says for which: the name is its identity in the run."""
    fact = plan("MET-1", "MET-2")
    assert [(agent.name, agent.ticket) for agent in fact.agents] == [
        ("ann-met-1", "MET-1"), ("bob-met-1", "MET-1"), ("ann-met-2", "MET-2"), ("bob-met-2", "MET-2"),
    ]  # fmt: skip
    assert len({agent.session for agent in fact.agents}) == 4


@pytest.mark.parametrize(
    "tickets",
    [("MET.1", "MET-1", "met_1"), ("A" * 64, "A" * 63 + "B", "A" * 62 + ".x"), tuple(f"T{n}" for n in range(32))],
    ids=["slugs that clash", "long names", "many"],
)
def test_names_never_clash_and_fit(tickets: tuple[str, ...]) -> None:
    """Names of workspaces, branches, agents and sessions are distinct and keep the grammar of each."""
    long = attrs.evolve(TWO_AGENTS, agents=(("a" * 64, "p"), ("a" * 63 + ".", "p"), ("a" * 63 + "_", "p")))
    fact = plan(*tickets, settings=long)
    for names in (
        [w.name for w in fact.workspaces], [w.branch for w in fact.workspaces],
        [a.name for a in fact.agents], [a.session for a in fact.agents],
    ):  # fmt: skip
        assert len(set(names)) == len(names)
    assert not any(name_fault(name) for name in [*(w.name for w in fact.workspaces), *(a.name for a in fact.agents)])
    assert not any(branch_fault(w.branch) for w in fact.workspaces)
    assert all(session_name("{agent}", a.session, "") == a.session for a in fact.agents)


def test_reuse_works_in_the_named_workspace() -> None:
    """All tickets share it; it is looked for once, and never removed."""
    fact = plan("A", "B", strategy="reuse", source="old-place")
    assert {w.name for w in fact.workspaces} == {"old-place"}
    assert [step.kind for step in fact.steps].count("create_workspace") == 1
    story = in_state("running", Wish("run", ("A", "B"), ("app",), strategy="reuse", source="old-place"))
    story.do(run_actions.cleanup, False, True)
    assert all(step.kind == "stop_session" for step in story.run.steps[story.run.action_from - 1 :])


def test_a_used_workspace_keeps_its_branch() -> None:
    """What is merged in the end is the branch that was found, not the one that would have been made."""
    story = RunStory(Wish("run", ("A",), ("app",), strategy="reuse", source="old-place")).until("create_workspace")
    story.end(workspace_path="/elsewhere/old-place", branch="task/old")
    (workspace,) = story.run.workspaces
    assert (workspace.branch, workspace.path) == ("task/old", "/elsewhere/old-place")


@pytest.mark.parametrize(
    ("pattern", "session"),
    [
        ("{agent}-{workspace}", "a-b-w-1"), ("{workspace}.{agent}", "w-1-a-b"), ("x:{agent}", "x-a-b"),
        ("...", "agent"),
    ],
)  # fmt: skip
def test_session_names_are_safe_for_tmux(pattern: str, session: str) -> None:
    """Letters, digits, '_' and '-' only."""
    assert session_name(pattern, "a.b", "w-1") == session


def test_sessions_are_distinct_whatever_the_pattern() -> None:
    """Agents whose names differ in a character that tmux does not take, or a pattern without the agent."""
    for pattern in ("{agent}", "{workspace}"):
        settings = attrs.evolve(SETTINGS, session_pattern=pattern, agents=(("a.b", "p"), ("a-b", "p")))
        sessions = [agent.session for agent in plan("M", settings=settings).agents]
        assert len(set(sessions)) == 2


@pytest.mark.parametrize(
    ("run_id", "token"),
    [(OURS, "89abcdef"), ("run-7", "7"), ("run-fix1", "fix1")],
)
def test_tokens_of_plain_run_ids_can_be_read(run_id: str, token: str) -> None:
    """The last digits of our own ids, the whole of a short one."""
    assert token_of(run_id) == token


def test_tokens_of_other_run_ids_never_clash() -> None:
    """Chosen ids that end alike, differ in case or punctuation, or in the prefix alone."""
    ids = [
        "run-7", "7", "RUN-7", "run-a.b", "run-a-b", "run-ab", "nightly-20261101", "weekly-20261101", "run-20261101",
        OURS, OURS.upper(), OURS + "x", "x" + OURS,
    ]  # fmt: skip
    assert len({token_of(run_id) for run_id in ids}) == len(ids)
    assert all(token_of(run_id).isalnum() and len(token_of(run_id)) <= 8 for run_id in ids)


@pytest.mark.parametrize(
    ("settings", "field"),
    [(attrs.evolve(SETTINGS, agents=()), "agents"), (attrs.evolve(SETTINGS, strategy="fork"), "source"),
     (attrs.evolve(SETTINGS, strategy="reuse"), "source")],
    ids=["no agents", "fork", "reuse"],
)  # fmt: skip
def test_what_the_policy_does_not_give_is_named(settings: Settings, field: str) -> None:
    """A policy without agents, or with a strategy that needs a workspace nobody named."""
    with pytest.raises(InvalidFields) as refused:
        plan("M", settings=settings)
    assert list(refused.value.fields) == [field]


def test_closing_measures_closes_documents_then_merges() -> None:
    """Each workspace's documents, then each branch in each repository."""
    story = in_state("completed", TWO_TICKETS)
    story.do(run_actions.close, None, True)
    steps = story.run.steps[story.run.action_from - 1 :]
    assert [step.kind for step in steps] == ["check_gates", *["close_docs"] * 2, *["merge_branch"] * 2]
    assert steps[1].args["entry"] == "Closed by metawsm run run-7"
    told = in_state("completed")
    told.do(run_actions.close, "It is done", False)
    assert [s.args.get("entry") for s in told.run.steps[told.run.action_from - 1 :]] == [None, "It is done"]
