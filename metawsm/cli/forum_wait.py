"""`forum wait`: sleep until a thread has its answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import click

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.forum_reads import option, reading
from metawsm.cli.forum_watch import Told
from metawsm.cli.output import note, print_json, say
from metawsm.cli.read_marks import agent_option, mark_read
from metawsm.cli.session import Session, thread_named
from metawsm.cli.text import one_line
from metawsm.client.address import segment
from metawsm.client.errors import ApiError
from metawsm.client.feed import Feed
from metawsm.domain.errors import NotFound
from metawsm.domain.names import control_thread_id
from metawsm.domain.plain_text import clean

ENDED = ("answered", "closed")
Row = Mapping[str, Any]


@click.command()
@click.argument("thread", required=False)
@reading(
    option("--thread-id", "The thread; may also stand as an argument."),
    option("--run-id", "With --agent and no thread: wait on the agent's control thread.", envvar="METAWSM_RUN_ID"),
    agent_option,
    option("--actor-type", "Who waits; for an agent the answer is marked as read.", envvar="METAWSM_ACTOR_TYPE"),
    option("--timeout", "Seconds after which to give up with exit code 75. [default: never]", type=click.FloatRange(0)),
)
def wait(
    session: Session,
    thread: str | None,
    thread_id: str | None,
    run_id: str | None,
    agent: str | None,
    actor_type: str | None,
    timeout: float | None,
) -> int:
    """Wait until a thread is answered or closed, and print the answer.

    Nothing is polled: the daemon tells. Started again after an interruption or a timeout, it goes on waiting. For an
    agent whose name is known the answer then counts as read. For a thread that was closed without one the exit code is
    1, and nothing is printed.

    \b
    metawsm.pyz forum wait fthr-...
    metawsm.pyz forum wait fthr-... --timeout 300
    """
    if thread is not None or thread_id is not None:
        wanted = thread_named(thread, thread_id)
    elif run_id and agent:
        wanted = _control_thread(session, run_id, agent)
    else:
        raise click.UsageError("say which thread to wait for, or which agent's (--run-id and --agent)")
    for answer in _looks(session, wanted, timeout):
        if answer.get("thread", {}).get("state") in ENDED:
            told = _tell(session, answer)
            if told and agent and actor_type in (None, "agent"):
                mark_read(session, wanted, agent, told[0]["sequence"], told[-1]["sequence"])
            return ExitCode.DONE if told else ExitCode.FAILED
    note(f"metawsm: {one_line(wanted)} has no answer yet; the same command goes on waiting")
    return ExitCode.QUEUED


def _control_thread(session: Session, run_id: str, agent: str) -> str:
    """The id of an agent's control thread: where names look alike, others have the first ones. Raises NotFound."""
    for attempt in count(1):
        thread_id = control_thread_id(run_id, agent, attempt)
        try:
            view = session.get(f"/forum/threads/{thread_id}", {"limit": 1})["thread"]
        except ApiError as error:
            if error.code != NotFound.code:
                raise
            break
        if (view.get("run_id"), view.get("agent_name")) == (run_id, agent):
            return thread_id
    raise NotFound(f"agent {agent} of {run_id} has no control thread yet: its first `forum signal` opens it")


def _looks(session: Session, thread_id: str, timeout: float | None) -> Iterator[Row]:
    """The thread now, and again after each of its events, until the time is over."""
    path = f"/forum/threads/{segment('thread_id', thread_id)}"
    answer = session.get(path)
    yield answer
    feed = Feed(session.client, {"thread_id": thread_id}, answer["thread"]["last_event_sequence"], Told())
    if timeout is not None:
        timer = threading.Timer(timeout, feed.close)
        timer.daemon = True
        timer.start()
    for frame in feed.frames():
        # A hello, too: what is there may be another database's, after a backup was restored.
        if frame.get("type") in ("hello", "forum.events", "reset"):
            yield session.get(path)


def _tell(session: Session, answer: Row) -> Sequence[Row]:
    """Print what was answered since the asker spoke last, and return it; to programs the whole thread."""
    told = _answers(answer)
    if session.as_json:
        print_json(answer)
        return told
    for post in told:
        say(clean(post.get("body", "")))
    if not told:
        note(f"metawsm: {one_line(answer['thread'].get('state'))} without an answer")
    return told


def _answers(answer: Row) -> list[Row]:
    """The answers after the newest post of the one who asked."""
    thread, found = answer.get("thread", {}), []
    asker = (thread.get("opened_by_type"), thread.get("opened_by_name"))
    for post in answer.get("posts", ()):
        kind = (post.get("signal") or {}).get("control_type") or post.get("kind")
        if kind in ("answer", "guidance_answer"):
            found.append(post)
        elif (post.get("actor_type"), post.get("actor_name")) == asker:
            found = []
    return found
