"""JSON Schemas of the answers, as the readers and pages give them. Contract tests hold real answers against them."""

from __future__ import annotations

from metawsm.api.schemas import (
    ACTOR,
    ANYTHING,
    ASSIGNEE,
    COUNT,
    FLAG,
    PRIORITY,
    SEQUENCE,
    STATE,
    TEXT,
    TIME,
    Schema,
    array,
    obj,
    of_rule,
    ref,
    told,
)
from metawsm.bus.fields import rules_of
from metawsm.bus.letters import REASONS, STATUSES, EndLetter
from metawsm.domain.events import DELIVERIES

VIEW = obj(
    {
        "thread_id": TEXT, "ticket": TEXT, "title": TEXT, "state": STATE, "priority": PRIORITY, "opened_by_type": ACTOR,
        "posts_count": COUNT, "last_event_sequence": SEQUENCE, "version_sequence": SEQUENCE, "is_unanswered": FLAG,
        "escalation_level": COUNT, "opened_at": TIME, "updated_at": TIME,
    },
    {
        "run_id": TEXT, "agent_name": TEXT, "assignee_type": ASSIGNEE, "assignee_name": TEXT, "opened_by_name": TEXT,
        "last_post_at": TIME, "last_post_by_type": ACTOR, "last_post_by_name": TEXT, "last_actor_type": ACTOR,
        "waiting_since": TIME, "due_at": TIME, "closed_at": TIME, "is_unseen": FLAG,
        "question": TEXT,
    },
    "A thread. `version_sequence` is its newest event not by `system`, to be handed back as `expected_sequence`. Where"
    " threads are read a control thread has the beginning of its oldest open `question`.",
)  # fmt: skip
POST = obj(
    {
        "post_id": TEXT, "sequence": SEQUENCE, "body": TEXT, "actor_type": ACTOR, "created_at": TIME,
        "kind": TEXT | {"enum": ["post", "answer", "signal"]},
    },
    {
        "actor_name": TEXT, "signal": ref("ControlSignal"),
        "receipts": array(ref("Receipt")) | {"description": "of an answer: the first readers, the oldest first"},
    },
)  # fmt: skip
READ = obj(
    {
        "thread_id": TEXT, "reader_type": ACTOR, "reader_name": TEXT,
        "post_ids": array(TEXT) | {"description": "the answers that count as read from now on"},
    },
    {"more": FLAG | {"description": "true: there are further ones; send the command again"}},
    "What an agent has read",
)  # fmt: skip
RECEIPT = obj(
    {"reader_type": ACTOR, "reader_name": TEXT},
    {"delivered_how": TEXT | {"enum": list(DELIVERIES)}, "delivered_at": TIME, "read_at": TIME},
    "That an answer came before an agent, and that the agent has read it",
)
ENTRY = obj(
    {
        "thread_id": TEXT, "ticket": TEXT, "title": TEXT, "post_id": TEXT, "sequence": SEQUENCE, "body": TEXT,
        "by_type": ACTOR, "at": TIME,
    },
    {
        "run_id": TEXT, "by_name": TEXT, "delivered_at": TIME,
        "question": TEXT | {"description": "on a control thread: the request that it answers"},
    },
    "An answer that its agent has not read",
)  # fmt: skip
COMMAND = obj(
    {"id": TEXT, "status": TEXT | {"enum": ["queued", "applied", "rejected", "failed"]}},
    {
        "thread_id": TEXT, "accepted_at": TIME, "thread": ref("View"), "seen": ref("Seen"),
        "read": ref("Read"),
        "error": obj({"code": TEXT, "message": TEXT}, {"fields": ref("Faults")}),
    },
)  # fmt: skip
OUTBOX = obj(
    {"pending_count": COUNT, "processing_count": COUNT, "failed_count": COUNT,
     "oldest_pending_age_seconds": {"type": "number", "minimum": 0}},
    {"oldest_pending_at": TIME},
    "Undone messages: waiting for Redis, in Redis (processing), given up (failed)",
)  # fmt: skip
LOOP = obj({"running": FLAG, "restarts": COUNT}, {"error": TEXT})
BUS = {"healthy": FLAG}
TOPIC = obj(
    {
        "topic": TEXT, "group": TEXT, "stream_length": COUNT, "consumer_group_pending": COUNT,
        "consumer_group_lag": {"type": ["integer", "null"]}, "consumers": COUNT, "last_delivered_id": TEXT,
        "last_generated_id": TEXT, "oldest_pending_id": TEXT, "oldest_pending_idle_seconds": {"type": "number"},
        "problem": TEXT,
    }
)  # fmt: skip
STATUS = TEXT | {"enum": ["ok", "attention", "degraded"]}
COMPONENT: Schema = obj({"status": STATUS}, {"error": TEXT}) | {"additionalProperties": True}
COMPONENTS = (
    "Each part by its name. `database`: writer and disk; `redis`: which one, groups of other programs that are behind;"
    " `commands`: handled, and lost in Redis; `projections`: the newest event that can be read everywhere;"
    " `dead_letters`: open ones; `jobs`: what runs do outside: pending, running, held since a restore, at work now, how"
    " long the oldest is due; `runs`: agents watched, reactions that wait; `loops`: those that fail again and again;"
    " `http`: connections and streams"
)
SLA = obj(
    {"waiting_count": COUNT, "breached_count": COUNT},
    {"oldest_waiting_since": TIME, "counts_are_lower_bounds": FLAG},
    "How many threads wait for an answer, and how many of them longer than allowed",
)
COUNTER = obj(
    {"ticket": TEXT, "state": STATE, "priority": PRIORITY, "thread_count": COUNT, "updated_at": TIME}, {"run_id": TEXT}
)
HIT: Schema = {
    **VIEW,
    "properties": VIEW["properties"]
    | {"match": obj({"sequence": SEQUENCE, "post_id": TEXT, "snippet": TEXT}, about="the newest post that matches")},
    "required": [*VIEW["required"], "match"],
}

LETTER = obj(
    {
        "id": COUNT, "status": TEXT | {"enum": list(STATUSES)}, "reason": TEXT | {"enum": list(REASONS)},
        "attempts": COUNT, "handler": TEXT, "consumer_group": TEXT, "topic": TEXT, "entry_id": TEXT,
        "first_failed_at": TIME, "last_failed_at": TIME,
    },
    {
        "error": TEXT, "message_id": TEXT, "command_id": TEXT | {"description": "see /forum/commands/{command_id}"},
        "thread_id": TEXT, "ended_at": TIME, "ended_by_type": ACTOR, "ended_by_name": TEXT,
        "cut": FLAG | {"description": "the payload was too much to keep whole"}, "traceback": TEXT,
        "metadata": ANYTHING, "payload": TEXT, "payload_base64": TEXT | {"description": "a payload that is not UTF-8"},
    },
    "A message that nobody could handle. Lists leave out payload, metadata and traceback, and show short errors.",
)  # fmt: skip

BACKUP = {
    "file": TEXT, "kind": TEXT | {"enum": ["backup", "migration", "replaced"]}, "created_at": TIME, "bytes": COUNT,
}  # fmt: skip
PLACE = {"epoch": COUNT, "head_sequence": SEQUENCE}

OLDER = (
    "there are older posts or events: hand it back to read them. The newest posts come once more with their events"
    " where more than 2 MiB of events are newer"
)

ERROR = obj(
    {
        "error": obj(
            {"code": TEXT, "message": TEXT, "correlation_id": TEXT}, {"fields": ref("Faults"), "details": ANYTHING}
        )
    },
    {"thread": ref("View")},
    "Every error. `fields` names each faulty field; `thread` is the current view when somebody was faster.",
)


def _page(name: str, items: Schema) -> Schema:
    return obj({name: array(items)}, {"next_cursor": TEXT}, "A page; without `next_cursor` it is the last one.")


ANSWERS: dict[str, Schema] = {
    "View": VIEW,
    "Post": POST,
    "Seen": obj(
        {"thread_id": TEXT, "viewer_type": ACTOR, "viewer_id": TEXT, "last_seen_event_sequence": SEQUENCE},
        about="Up to where a viewer has seen a thread",
    ),
    "Read": READ,
    "Receipt": RECEIPT,
    "Command": COMMAND,
    "Faults": {"type": "object", "additionalProperties": array(TEXT), "description": "what is wrong, by field"},
    "Error": ERROR,
    "ThreadAnswer": obj({"thread": ref("View")}),
    "SeenAnswer": obj({"seen": ref("Seen")}),
    "ReadAnswer": obj({"read": ref("Read")}),
    "CommandAnswer": obj({"command": ref("Command")}),
    "ThreadPage": _page("threads", ref("View")),
    "SearchPage": _page("threads", HIT),
    "InboxEntry": ENTRY,
    "InboxPage": obj(
        {
            "answers": array(ref("InboxEntry")),
            "unread_count": COUNT | {"description": "all that are unread, counted up to 1000"},
        },
        {"next_cursor": TEXT},
        "A page; without `next_cursor` it is the last one.",
    ),
    "ThreadDetail": obj(
        {"thread": ref("View"), "posts": array(ref("Post")), "events": array(ref("Event"))},
        {"posts_before": SEQUENCE | {"description": OLDER}},
    ),
    "EventPage": obj(
        {
            "events": array(ref("Event")),
            "next_cursor": SEQUENCE | {"description": "the last sequence examined"},
            "epoch": COUNT | {"description": "grows when a backup is restored: a change ends all cursors"},
        },
        {"reset": TEXT | {"description": "the cursor is of a lost time, and why; read the state anew"}},
    ),
    "Stats": obj({"stats": array(COUNTER), "sla": SLA}, {"next_cursor": TEXT}),
    "Health": obj(
        {
            "status": STATUS, "started_at": TIME, "now": TIME,
            "worker": obj({"running": FLAG, "loops": {"type": "object", "additionalProperties": LOOP}}),
            "outbox": OUTBOX, "forum_bus": obj(BUS, {"error": TEXT}),
            "components": {"type": "object", "additionalProperties": COMPONENT} | {"description": COMPONENTS},
        }
    ),
    "Debug": obj(
        {
            "debug": obj(
                {
                    "generated_at": TIME, "outbox": OUTBOX, "outbox_messages": array(ANYTHING),
                    "jobs": array(ANYTHING), "events": array(ANYTHING), "threads": array(ANYTHING),
                    "control_threads": array(ANYTHING),
                    "bus": obj(
                        {"running": FLAG, **BUS, "redis_url": TEXT, "stream_name": TEXT, "consumer_group": TEXT,
                         "consumer_name": TEXT, "topics": array(TOPIC)},
                        {"error": TEXT},
                    ),
                }
            )
        }
    ),
    "Alive": obj({"status": {"const": "alive"}}),
    "Ready": obj({"status": {"const": "ready"}}),
    "RebuildAnswer": obj(
        {"rebuild": obj({"running": FLAG, "done": COUNT, "total": COUNT}, {"started_at": TIME, "finished_at": TIME})}
    ),
    "DeadLetter": LETTER,
    "DeadLetterPage": _page("dead_letters", ref("DeadLetter")),
    "DeadLetterAnswer": obj({"dead_letter": ref("DeadLetter")}),
    "DeadLetterActAnswer": obj(
        {"dead_letter": ref("DeadLetter"), "done": FLAG | {"description": "whether this request ended the letter"}},
        {"command": ref("Command"), "rebuild": FLAG | {"description": "a rebuild of the read models does it"}},
    ),
    "DeadLettersActAnswer": obj(
        {
            "result": obj(
                {"matched": COUNT, "done": COUNT, "failed": COUNT, "skipped": COUNT, "rebuild": COUNT, "dry_run": FLAG},
                about="`matched` letters from the cursor on; `done` ended, `failed` again and stay open, `skipped` were"
                " refused (ended otherwise, or no whole payload), `rebuild` wait for one",
            )
        },
        {"next_cursor": TEXT},
    ),
    "EndLetter": {
        "type": "object",
        "description": told(EndLetter),
        "properties": {name: of_rule(rule) for name, rule in rules_of(EndLetter).items()},
        "required": [name for name, rule in rules_of(EndLetter).items() if rule.required],
        "additionalProperties": False,
    },
    "Backup": obj(BACKUP, PLACE, "A backup by its name; one that a restore replaced does not tell how far it goes"),
    "BackupList": obj({"backups": array(ref("Backup"))}),
    "BackupAnswer": obj(
        {
            "backup": obj(
                {
                    **BACKUP, **PLACE, "schema_version": COUNT, "database_id": TEXT, "deleted": array(TEXT),
                    "counts": {"type": "object", "additionalProperties": COUNT},
                },
                about="A backup that was made, what it holds, and the older ones that were deleted for it",
            )
        }
    ),
    "Document": ANYTHING,
}  # fmt: skip
