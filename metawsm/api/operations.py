"""Every operation beside the commands, as plain data: the routes and the documents follow from it."""

from __future__ import annotations

from attrs import frozen

from metawsm.api.parameters import (
    CURSOR,
    FILTERS,
    LARGEST_PAGE,
    LIMIT,
    RUN_ID,
    TICKET,
    VIEWER,
    Parameter,
    choice,
    number,
)

BASE = "/api/v1"
QUEUES = ("unseen", "unanswered", "mine", "breached")
SORTS = ("priority", "attention")
MOST_EVENTS = 1000
QUERY_LIMIT = 500  # characters of a search


@frozen
class Operation:
    """One operation. `path` is below BASE, or whole when `root`; `answer` names the schema of its success body.

    `open` operations need no credential; `found` ones answer 404 for what is not there.
    """

    name: str
    path: str
    summary: str
    answer: str
    parameters: tuple[Parameter, ...] = ()
    method: str = "GET"
    status: int = 200
    root: bool = False
    open: bool = False
    found: bool = False

    @property
    def whole(self) -> str:
        """The path as clients send it."""
        return self.path if self.root else BASE + self.path

    @property
    def forum(self) -> bool:
        """Whether it answers 503 while the policy switches the forum off."""
        return self.path.startswith("/forum/")


LIST_THREADS = Operation(
    "list_threads",
    "/forum/threads",
    "List threads: by priority, then the newest event; or by attention: overdue, blocks a run, due",
    "ThreadPage",
    (*FILTERS, *VIEWER, LIMIT, CURSOR, choice("sort", "the order", SORTS, "priority")),
)
SHOW_THREAD = Operation(
    "show_thread",
    "/forum/threads/{thread_id}",
    "A thread with its newest posts and events, each in ascending order",
    "ThreadDetail",
    (
        number(
            "posts_before", "only posts and events before this sequence (`posts_before` of an answer)", None, least=1
        ),
        number("limit", "most posts, and most events", 100, LARGEST_PAGE, 1),
    ),
    found=True,
)
SHOW_QUEUE = Operation(
    "show_queue",
    "/forum/queues",
    "What waits: unseen by the viewer, unanswered, mine (assigned to the viewer and not closed), breached (overdue)",
    "ThreadPage",
    (choice("type", "which queue; unseen and mine need the viewer", QUEUES, required=True),
     *FILTERS, *VIEWER, LIMIT, CURSOR),
)  # fmt: skip
SEARCH = Operation(
    "search",
    "/forum/search",
    "Threads whose title or posts hold all words, the newest match first",
    "SearchPage",
    (Parameter("query", 'words, and "phrases" in double quotes', required=True, most=QUERY_LIMIT),
     *FILTERS, *VIEWER, LIMIT, CURSOR),
)  # fmt: skip
SHOW_STATS = Operation(
    "show_stats",
    "/forum/stats",
    "How many threads there are by ticket, run, state and priority, and how many wait for an answer",
    "Stats",
    (TICKET, RUN_ID, number("limit", "most counters of the page", LARGEST_PAGE, LARGEST_PAGE, 1), CURSOR),
)
LIST_EVENTS = Operation(
    "list_events",
    "/forum/events",
    "Events after a sequence, in ascending order",
    "EventPage",
    (
        TICKET,
        RUN_ID,
        Parameter("thread_id", "only this thread"),
        number("cursor", "the sequence after which to begin", 0),
        number("limit", "most events of the page", 100, MOST_EVENTS, 1),
    ),
)
SHOW_COMMAND = Operation(
    "show_command",
    "/forum/commands/{command_id}",
    "What became of an accepted command",
    "CommandAnswer",
    found=True,
)
HEALTH = Operation(
    "show_health", "/health", "The state of every part: ok, attention (both 200) or degraded (503)", "Health"
)
DEBUG = Operation(
    "show_debug",
    "/forum/debug",
    "The newest outbox rows, events and threads, and the state of the streams",
    "Debug",
    (TICKET, RUN_ID, number("limit", "most rows of each kind", 50, LARGEST_PAGE, 1)),
)
LIVEZ = Operation("livez", "/livez", "The process answers", "Alive", root=True, open=True)
READYZ = Operation("readyz", "/readyz", "Requests are accepted and reads are answered", "Ready", root=True, open=True)
OPENAPI = Operation("openapi", "/openapi.json", "This document", "Document")
ASYNCAPI = Operation("asyncapi", "/asyncapi.json", "The AsyncAPI document of streams and WebSocket", "Document")
REBUILD = Operation(
    "begin_rebuild",
    "/forum/rebuild",
    "Make the read models anew from the events while serving; begins one unless one runs",
    "RebuildAnswer",
    method="POST",
    status=202,
)
REBUILD_STATE = Operation(
    "show_rebuild", "/forum/rebuild", "How far the rebuild of the read models is", "RebuildAnswer"
)

# A WebSocket: the feed reads its own query, and it is no part of ALL.
STREAM = Operation(
    "follow_events",
    "/forum/stream",
    "Follow the events over WebSocket",
    "Document",
    (
        TICKET,
        RUN_ID,
        Parameter("thread_id", "only this thread"),
        number("cursor", "the sequence after which to begin; without it: from now", None),
        number("limit", "most events of a frame while catching up", 500, 500, 1),
    ),
)

ALL: tuple[Operation, ...] = (
    HEALTH, LIVEZ, READYZ, LIST_THREADS, SHOW_THREAD, SEARCH, SHOW_QUEUE, LIST_EVENTS, SHOW_STATS, DEBUG, SHOW_COMMAND,
    REBUILD, REBUILD_STATE, OPENAPI, ASYNCAPI,
)  # fmt: skip
