"""The verbs that read: list, thread, search, queue, stats."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click

from metawsm.cli.failures import Failure
from metawsm.cli.output import Column, age, key, note, print_json, say, table
from metawsm.cli.session import Session, connected, thread_named
from metawsm.cli.text import control_title, one_line
from metawsm.cli.thread_page import page
from metawsm.client.address import segment
from metawsm.domain.errors import MetawsmError

Verb = Callable[..., Any]
Row = Mapping[str, Any]


def option(name: str, help_text: str, **settings: Any) -> Callable[[Verb], Verb]:
    """An option whose variable, if it has one, stands in the help."""
    return click.option(name, help=help_text, show_envvar=True, **settings)


SCOPE = (
    option("--ticket", "Only this ticket.", envvar="METAWSM_TICKET"),
    option("--run-id", "Only this run.", envvar="METAWSM_RUN_ID"),
)
FILTERS = (
    *SCOPE,
    option("--state", "Only threads in this state."),
    option("--priority", "Only threads of this priority."),
    option("--assignee", "Only threads assigned to this name."),
)
PAGE = (
    option("--limit", "Most rows. [default: 50, at most 500]", type=click.IntRange(1, 500)),
    option("--cursor", "Go on where an earlier answer ended."),
)
OWN = ("mine", "unseen")
"""Queues of somebody."""
VIEWER = (
    option("--viewer-type", "Whose view: agent, operator (default) or human.", envvar="METAWSM_ACTOR_TYPE"),
    option("--viewer-id", "Whose view: the name.", envvar="METAWSM_ACTOR_NAME"),
)


def reading(*options: Callable[[Verb], Verb]) -> Callable[[Verb], Verb]:
    """A verb with these options, --server and --json; errors name the flags of the fields."""

    def decorate(verb: Verb) -> Verb:
        @functools.wraps(verb)
        def run(session: Session, **values: Any) -> Any:
            try:
                return verb(session, **values)
            except MetawsmError as error:
                raise Failure(error, {name: f"--{name.replace('_', '-')}" for name in values}, session.sent) from None

        result = connected(run)
        for each in reversed(options):
            result = each(result)
        return result

    return decorate


@click.command("list")
@reading(
    *FILTERS,
    *VIEWER,
    *PAGE,
    option("--sort", "priority (default), or attention: overdue first, then what waits longest.", metavar="ORDER"),
)
def list_threads(session: Session, **query: Any) -> None:
    """List threads, the most pressing first.

    \b
    metawsm.pyz forum list --ticket MET-1 --state new
    """
    _threads(session, "/forum/threads", query, "no thread matches")


@click.command()
@click.argument("words", nargs=-1)
@reading(
    option("--query", "Whole words, all of which must match; may also stand as arguments."), *FILTERS, *VIEWER, *PAGE
)
def search(session: Session, words: tuple[str, ...], **query: Any) -> None:
    """Search titles and posts, the newest match first.

    \b
    metawsm.pyz forum search flaky test
    """
    query["query"] = " ".join(filter(None, (query["query"], *words)))
    if not query["query"].strip():
        raise click.UsageError("say what to look for")
    _threads(session, "/forum/search", query, "nothing was found", extra=(SNIPPET,))


@click.command()
@reading(option("--type", "unseen, unanswered, mine or breached.", required=True), *FILTERS, *VIEWER, *PAGE)
def queue(session: Session, **query: Any) -> None:
    """List what waits for you: unseen, unanswered, mine or breached.

    \b
    metawsm.pyz forum queue --type unanswered
    metawsm.pyz forum queue --type mine --viewer-type human --viewer-id kb
    """
    name, whose = query.get("viewer_id"), query.get("viewer_type") or "operator"
    if query["type"] in OWN and not name:
        raise click.UsageError(f"say whose queue: --viewer-id NAME, an {whose}'s unless --viewer-type says otherwise")
    _threads(session, "/forum/queues", query, f"nothing waits here{f' for {whose} {one_line(name)}' if name else ''}")


@click.command()
@click.argument("thread", required=False)
@reading(
    option("--thread-id", "The thread, required; may also stand as an argument."),
    option("--limit", "Most posts. [default: 100]", type=click.IntRange(1, 500)),
    option("--posts-before", "Only posts and events before this sequence."),
)
def thread(session: Session, thread: str | None, thread_id: str | None, **query: Any) -> None:
    """Show a thread with its posts.

    \b
    metawsm.pyz forum thread fthr-...
    """
    path = f"/forum/threads/{segment('thread_id', thread_named(thread, thread_id))}"
    answer = session.get(path, query)
    if session.as_json:
        print_json(answer)
        return
    _head(answer.get("thread", {}))
    for line in page(answer):
        say(line)
    if answer.get("posts_before"):
        note(f"there are older posts or events: add --posts-before {answer['posts_before']}")


@click.command()
@reading(*SCOPE, *PAGE)
def stats(session: Session, **query: Any) -> None:
    """Count threads by ticket, run, state and priority."""
    answer = session.get("/forum/stats", query)
    if session.as_json:
        print_json(answer)
        return
    columns = [
        Column("TICKET", key("ticket")),
        Column("RUN", key("run_id"), drop=2),
        Column("STATE", key("state")),
        Column("PRIORITY", key("priority")),
        Column("THREADS", key("thread_count")),
        Column("UPDATED", lambda row: age(row.get("updated_at")), drop=3),
    ]
    table(columns, answer.get("stats", ()), "there are no threads")
    _more(answer)


SNIPPET = Column("MATCH", lambda row: row.get("match", {}).get("snippet", ""), drop=3)


def _threads(session: Session, path: str, query: Mapping[str, Any], empty: str, extra: tuple[Column, ...] = ()) -> None:
    """Print a page of threads, and on stderr how to get the next one."""
    answer = session.get(path, _with_viewer(query))
    if session.as_json:
        print_json(answer)
        return
    columns = [
        Column("THREAD", key("thread_id")),
        Column("STATE", key("state")),
        Column("PRIORITY", key("priority"), drop=3),
        Column("WAITS", lambda row: age(row.get("waiting_since")), drop=1),
        Column("POSTS", key("posts_count"), drop=8),
        Column("TICKET", key("ticket"), drop=2),
        Column("FROM", _asker, drop=5),
        Column("ASSIGNEE", key("assignee_name"), drop=6),
        Column("TITLE", _title, flexible=True),
    ]
    table([*columns, *extra], answer.get("threads", ()), empty)
    _more(answer)


def _with_viewer(query: Mapping[str, Any]) -> dict[str, Any]:
    """The query with both parts of the viewer or none: a type alone says nothing, a name alone is an operator's."""
    viewer_id = query.get("viewer_id")
    return {**query, "viewer_type": (query.get("viewer_type") or "operator") if viewer_id else None}


def _more(answer: Row) -> None:
    """Say how to get the next page, if there is one."""
    if answer.get("next_cursor"):
        note(f"there is more: add --cursor {one_line(answer['next_cursor'])}")


def _asker(row: Row) -> str:
    """Who asks, and in which run."""
    name = row.get("agent_name") or row.get("opened_by_name") or row.get("opened_by_type", "")
    return f"{name}@{row['run_id']}" if row.get("run_id") else str(name)


def _title(row: Row) -> str:
    """The title, with a mark when the viewer has not seen it; of a control thread, whose it is and what is asked."""
    title = control_title(row) or str(row.get("title", ""))
    return f"* {title}" if row.get("is_unseen") else title


def _head(view: Row) -> None:
    """The facts about a thread."""
    say(one_line(view.get("title", "")))
    facts = [view.get("thread_id"), view.get("state"), view.get("priority"), view.get("ticket"), _asker(view)]
    if view.get("assignee_name"):
        facts.append(f"assigned to {view['assignee_name']}")
    if view.get("waiting_since"):
        facts.append(f"waits {age(view['waiting_since'])}")
    say("  ".join(one_line(fact) for fact in facts if fact))
