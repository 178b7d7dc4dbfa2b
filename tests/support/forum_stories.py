"""Random stories of a forum for property tests, and the plain answers that the quick readers have to equal."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from metawsm.bus.reading import Filters, Viewer
from metawsm.domain import actions
from metawsm.domain.errors import Rejected
from metawsm.domain.events import DELIVERIES, PostAdded, PostDelivered, StateChanged
from metawsm.domain.states import PRIORITIES, STATES
from metawsm.domain.thread import Thread
from metawsm.domain.view import timestamp
from metawsm.messages.thread_rows import COLUMN_LIST, from_row
from tests.support.read_side import KB, MINUTES, Forum

TICKETS, RUNS, AGENTS, PEOPLE = ("MET-1", "MET-2"), ("run-1", "run-2"), ("ann", "bob"), ("kb", "eve")
ACTORS = ("agent", "human", "operator")
Step = tuple[Any, ...]

_WEIGHTS = {
    "open": 14, "post": 10, "answer": 10, "assign": 8, "state": 8, "priority": 5, "system": 5, "control": 6, "later": 3,
    "see": 30, "apply": 5, "read": 12, "deliver": 6,
}  # fmt: skip
_PICKS: dict[str, tuple[Any, ...]] = {
    "post": ACTORS,
    "state": STATES,
    "priority": PRIORITIES,
    "system": (True, False),
    "control": ("guidance_request", "guidance_answer", "completion"),
    "see": (None, None, None, None, None, 0, 3),
}


def story(seed: int, length: int) -> list[Step]:
    """A story of `length` steps; the same for the same seed, and a longer one begins like a shorter one."""
    chance = random.Random(seed)
    return [_step(chance) for _ in range(length)]


def _step(chance: random.Random) -> Step:
    name = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    which = chance.randrange(60)
    pick = chance.choice
    if name in _PICKS:
        return name, which, pick(_PICKS[name])
    match name:
        case "open":
            return name, pick(TICKETS), pick((None, *RUNS)), pick((None, *AGENTS)), pick(PRIORITIES)
        case "assign":
            return name, which, pick(("human", "operator")), pick(("", *PEOPLE))
        case "read" | "deliver":
            return name, which, pick((*AGENTS, None, None)), pick(DELIVERIES)
        case "later" | "apply":
            return name, 1 + which // 2
    return name, which


STORIES = st.builds(story, st.integers(0, 2**32), st.integers(0, 150))
FILTERS = st.builds(
    Filters,
    ticket=st.sampled_from((None, *TICKETS)),
    run_id=st.sampled_from((None, *RUNS)),
    state=st.sampled_from((None, None, *STATES)),
    priority=st.sampled_from((None, None, *PRIORITIES)),
    assignee=st.sampled_from((None, None, *PEOPLE)),
)


def tell(forum: Forum, steps: list[Step]) -> None:
    """Do the steps; what the domain refuses is left out."""
    for name, *args in steps:
        try:
            _tell(forum, name, *args)
        except Rejected:
            continue


def _tell(forum: Forum, name: str, *args: Any) -> None:
    if name == "open":
        ticket, run, agent, priority = args
        about = {key: value for key, value in (("run_id", run), ("agent_name", agent)) if value}
        forum.open(ticket, f"about {ticket} {priority}", priority, **about)
    elif name == "later":
        forum.later(minutes=args[0])
    elif name == "apply":
        forum.apply(limit=args[0])
    elif threads := [thread.thread_id for thread in all_threads(forum)]:
        _deed(forum, name, threads[args[0] % len(threads)], *args[1:])


def _deed(forum: Forum, name: str, thread: str, *args: Any) -> None:
    match name:
        case "post":
            forum.do(thread, actions.post, "more words", actor=args[0])
        case "answer":
            forum.do(thread, actions.answer, "use v2")
        case "assign":
            forum.do(thread, actions.assign, *args, None)
        case "state":
            forum.do(thread, actions.change_state, args[0], None)
        case "priority":
            forum.do(thread, actions.set_priority, args[0])
        case "see":
            forum.see(thread, args[0])
        case "system":
            fact = PostAdded("note", "post", "p") if args[0] else StateChanged(forum.thread(thread).state, "triaged")
            forum.record(thread, [fact], "system")
        case "control":
            _control(forum, args[0])
        case "read" | "deliver":
            _receipt(forum, name, thread, *args)


def _receipt(forum: Forum, name: str, thread: str, agent: str | None, how: str) -> None:
    """An agent (None: the one that asked) reads its oldest unread answer, or its newest one comes before it."""
    reader = agent or forum.thread(thread).agent_name or "ann"
    if name == "read":
        forum.read(thread, reader, most=1)
    elif unread := forum.unread(thread, reader):
        forum.record(thread, [PostDelivered(unread[-1], "agent", reader, how)], "system")


def _control(forum: Forum, kind: str) -> None:
    thread_id = "fctrl-run-1-bob"
    if not any(thread.thread_id == thread_id for thread in all_threads(forum)):
        forum.open(run_id="run-1", agent_name="bob", thread_id=thread_id)
    signal = {"control_type": kind, "run_id": "run-1", "agent_name": "bob", "question": "which?", "answer": "that"}
    forum.do(thread_id, actions.signal, signal, actor="human" if kind == "guidance_answer" else "agent")


def all_threads(forum: Forum) -> list[Thread]:
    """Every thread of the state tables, the newest event last."""
    return [from_row(row) for row in forum.db.execute(f"SELECT {COLUMN_LIST} FROM forum_threads ORDER BY 9")]


def expected(forum: Forum, kind: str, filters: Filters, viewer: Viewer = KB) -> list[str]:
    """The ids that a list or queue has to give, in order, worked out the slow way."""
    seen = dict(
        forum.db.execute(
            "SELECT thread_id, last_seen_event_sequence FROM forum_thread_reads"
            " WHERE viewer_type = ? AND viewer_id = ?",
            (viewer.type, viewer.id),
        )
    )
    due = timestamp(datetime.fromisoformat(forum.now) - timedelta(minutes=MINUTES))
    belongs: dict[str, Callable[[Thread], bool]] = {
        "list": lambda t: True,
        "unseen": lambda t: seen.get(t.thread_id, -1) < t.version_sequence,
        "unanswered": lambda t: bool(t.waiting_since or (t.open_requests and t.state != "closed")),
        "mine": lambda t: (t.assignee_type, t.assignee_name) == (viewer.type, viewer.id) and t.state != "closed",
        "breached": lambda t: t.waiting_since is not None and t.waiting_since <= due,
    }
    found = [t for t in all_threads(forum) if _fits(t, filters) and belongs[kind](t)]
    if kind == "breached":
        return [
            t.thread_id for t in sorted(found, key=lambda t: (-PRIORITIES.index(t.priority), t.waiting_since or ""))
        ]
    return [t.thread_id for t in sorted(found, key=lambda t: (-PRIORITIES.index(t.priority), -t.last_event_sequence))]


def _fits(thread: Thread, filters: Filters) -> bool:
    has = (thread.ticket, thread.run_id, thread.state, thread.priority, thread.assignee_name)
    wants = (filters.ticket, filters.run_id, filters.state, filters.priority, filters.assignee)
    return all(want is None or want == is_ for want, is_ in zip(wants, has, strict=True))
