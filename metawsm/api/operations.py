"""Every operation beside the commands, as plain data: the routes and the documents follow from it."""

from __future__ import annotations

from attrs import frozen

from metawsm.api.parameters import (
    CURSOR,
    FILTERS,
    LARGEST_PAGE,
    LIMIT,
    PAGE,
    RUN_ID,
    TICKET,
    VIEWER,
    Parameter,
    choice,
    number,
    time,
)
from metawsm.bus.letters import REASONS, STATUSES
from metawsm.domain.run_states import RUN_STATES

BASE = "/api/v1"
QUEUES = ("unseen", "unanswered", "mine", "breached")
SORTS = ("priority", "attention")
MOST_EVENTS = 1000
MOST_LETTERS = 1000  # that one request acts on
QUERY_LIMIT = 500  # characters of a search


@frozen
class Operation:
    """One operation. `path` is below BASE, or whole when `root`; `answer` names the schema of its success body.

    `open` operations need no credential; `found` ones answer 404 for what is not there, `conflicts` ones 409 where it
    is too late. `body` names the schema of what a POST takes; without one it takes an empty object.
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
    conflicts: bool = False
    body: str = ""

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
        number(
            "limit",
            "most posts; all events from the oldest of them on come with them, but a page ends at 2 MiB of events",
            100,
            LARGEST_PAGE,
            1,
        ),
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
    "Threads with a post that holds all words (the title belongs to the first post), the newest match first",
    "SearchPage",
    (Parameter("query", 'words, and "phrases" in double quotes', required=True, most=QUERY_LIMIT),
     *FILTERS, *VIEWER, LIMIT, CURSOR),
)  # fmt: skip
SHOW_INBOX = Operation(
    "show_inbox",
    "/forum/inbox",
    "Answers to what an agent asked that it has not read, the oldest first",
    "InboxPage",
    (Parameter("agent_name", "the agent", required=True), Parameter("run_id", "only what it asked in this run"),
     number("limit", "most answers of the page", PAGE, LARGEST_PAGE, 1), CURSOR),
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
        number(
            "epoch", "the `epoch` of the page that gave the cursor: `reset` tells that it has changed", None, least=1
        ),
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
    "The newest outbox rows and jobs, the newest events and threads of a ticket or run, and the state of the streams",
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
    "Make the read models anew from the events while serving; while one runs, another follows it",
    "RebuildAnswer",
    method="POST",
    status=202,
)
REBUILD_STATE = Operation(
    "show_rebuild", "/forum/rebuild", "How far the rebuild of the read models is", "RebuildAnswer"
)
LETTER_FILTERS = (
    choice("reason", "only letters of this reason", REASONS),
    Parameter("handler", "only what this handler or read model failed on"),
    Parameter("topic", "only messages of this topic"),
    Parameter("message_id", "only this message or command"),
    Parameter("thread_id", "only commands of this thread, as far as it is known"),
    time("since", "only what failed last at this time or later"),
    time("until", "only what failed last at this time or before"),
)
LIST_LETTERS = Operation(
    "list_dead_letters",
    "/forum/dead-letters",
    "List dead letters, the newest first: messages that nobody could handle",
    "DeadLetterPage",
    (choice("status", "only letters of this status", STATUSES), *LETTER_FILTERS,
     number("limit", "most letters of the page", PAGE, LARGEST_PAGE, 1), CURSOR),
)  # fmt: skip
SHOW_LETTER = Operation(
    "show_dead_letter",
    "/forum/dead-letters/{letter_id}",
    "A dead letter with its payload, metadata and traceback",
    "DeadLetterAnswer",
    found=True,
)
REPLAY_LETTER = Operation(
    "replay_dead_letter",
    "/forum/dead-letters/{letter_id}/replay",
    "Give a dead letter's message a fresh look; it is applied once, or the letter stays open",
    "DeadLetterActAnswer",
    (number("wait", "seconds to wait for the command's outcome", 5, 30),),
    method="POST",
    found=True,
    conflicts=True,
    body="EndLetter",
)
DISCARD_LETTER = Operation(
    "discard_dead_letter",
    "/forum/dead-letters/{letter_id}/discard",
    "Nothing more is to be done about a dead letter",
    "DeadLetterActAnswer",
    method="POST",
    found=True,
    conflicts=True,
    body="EndLetter",
)
_MANY = (
    *LETTER_FILTERS,
    choice("all", "every open letter: needed without a filter", ("true", "false"), "false"),
    choice("dry_run", "only count; its next_cursor keeps the act to what was counted", ("true", "false"), "false"),
    number("limit", "most letters of one request", MOST_LETTERS, MOST_LETTERS, 1),
    CURSOR,
)
REPLAY_LETTERS = Operation(
    "replay_dead_letters",
    "/forum/dead-letters/replay",
    "Replay the open dead letters that match, the oldest first; foreign and restored ones only by that reason",
    "DeadLettersActAnswer",
    _MANY,
    method="POST",
    body="EndLetter",
)
DISCARD_LETTERS = Operation(
    "discard_dead_letters",
    "/forum/dead-letters/discard",
    "Discard the open dead letters that match, the oldest first",
    "DeadLettersActAnswer",
    _MANY,
    method="POST",
    body="EndLetter",
)
CREATE_BACKUP = Operation(
    "create_backup",
    "/backups",
    "Make a backup of the database while serving; answers when it is complete, checked and on the disk",
    "BackupAnswer",
    method="POST",
    status=201,
)
LIST_BACKUPS = Operation("list_backups", "/backups", "The backups that are kept, the newest first", "BackupList")

LIST_RUNS = Operation(
    "list_runs",
    "/runs",
    "List runs, the newest first",
    "RunPage",
    (
        TICKET,
        choice("state", "only runs in this state", RUN_STATES),
        choice("active", "only runs that are not over: neither stopped nor closed", ("true", "false"), "false"),
        number("limit", "most runs of the page", PAGE, LARGEST_PAGE, 1),
        CURSOR,
    ),
)
SHOW_RUN = Operation(
    "show_run",
    "/runs/{run_id}",
    "A run with its steps, agents, checkouts, documents and open questions",
    "RunDetailAnswer",
    found=True,
)
RELEASE_JOBS = Operation(
    "release_jobs",
    "/jobs/release",
    "Let jobs begin that are held since a backup was restored",
    "ReleaseAnswer",
    method="POST",
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
    HEALTH, LIVEZ, READYZ, LIST_THREADS, SHOW_THREAD, SEARCH, SHOW_QUEUE, SHOW_INBOX, LIST_EVENTS, SHOW_STATS, DEBUG,
    SHOW_COMMAND, REBUILD, REBUILD_STATE, LIST_LETTERS, SHOW_LETTER, REPLAY_LETTER, DISCARD_LETTER, REPLAY_LETTERS,
    DISCARD_LETTERS, CREATE_BACKUP, LIST_BACKUPS, LIST_RUNS, SHOW_RUN, RELEASE_JOBS, OPENAPI, ASYNCAPI,
)  # fmt: skip
