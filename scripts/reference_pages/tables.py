"""What the tables and columns mean, in words."""

from __future__ import annotations

COMMON: dict[str, str] = {
    "thread_id": "the thread",
    "ticket": "its ticket",
    "run_id": "the run it belongs to",
    "agent_name": "the agent that asks",
    "title": "one line",
    "state": "new, triaged, waiting_operator, waiting_human, answered, closed",
    "priority": "low, normal, high, urgent",
    "opened_by_type": "actor type of who asked",
    "opened_by_name": "name of who asked",
    "opened_at": "time of the question",
    "updated_at": "time of the last change",
    "last_event_sequence": "its newest event",
    "version_sequence": "its newest event not by `system`",
    "assignee_type": "actor type of who sees to it",
    "assignee_name": "name of who sees to it",
    "posts_count": "posts, the question included",
    "last_post_at": "time of the newest post",
    "last_post_by_type": "actor type of its author",
    "last_post_by_name": "name of its author",
    "last_actor_type": "actor type of the newest event not by `system`",
    "asker_last": "1 while the asker spoke last",
    "waiting_since": "since when it waits for an answer",
    "escalation_level": "escalations since then",
    "closed_at": "time of the closing",
    "open_requests": "control threads: JSON list of the open guidance requests (post ids), oldest first",
    "sequence": "the event that made it",
    "actor_type": "agent, operator, human, system",
    "actor_name": "name of the actor",
    "created_at": "when it was made",
    "occurred_at": "when it happened",
    "reason": "the reason given",
    "projection_name": "the read model",
    "event_id": "the event",
    "applied_at": "when it was applied",
    "viewer_type": "what the viewer is",
    "viewer_id": "who the viewer is",
    "thread_count": "how many threads",
    "message_id": "the message's identity",
    "topic": "its topic",
    "last_error": "the newest error",
}
_READ_MODEL = "Read model"
TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "schema_migrations": ("The steps of the schema that were applied", {
        "version": "number of the step", "name": "what it made", "applied_at": "when",
    }),
    "forum_threads": ("Every thread as the newest handled command left it", {}),
    "forum_posts": ("Every post; the question is the first", {
        "post_id": "`<event_id>.post`", "kind": "post, answer, signal", "body": "Markdown; of a signal its texts",
        "signal_json": "the control signal",
    }),
    "forum_state_transitions": ("Every change of state, the opening and the closing included", {
        "from_state": "NULL for the opening", "to_state": "the new state",
    }),
    "forum_assignments": ("Every assignment", {
        "assignee_type": "NULL: taken away", "assignee_name": "NULL: taken away", "note": "a word to the assignee",
        "assigned_at": "when",
    }),
    "forum_control_threads": ("Which control thread each (run, agent) has; written when its first signal is accepted", {
        "agent_name": "the agent", "run_id": "the run", "ticket": "the ticket of the first signal",
        "thread_id": "its control thread",
    }),
    "forum_events": ("The log: every event, never changed", {
        "sequence": "place in the global order; gaps are possible after a restore", "event_id": "its identity",
        "event_type": "such as `forum.thread.opened`", "event_version": "version of the payload's form",
        "actor_known_by": "token, loopback, open, redis, system", "correlation_id": "the conversation",
        "causation_id": "the command that led to it", "payload_json": "the payload",
        "thread_id": "the thread, if it is about one", "run_id": "the run", "agent_name": "the agent",
    }),
    "forum_outbox": ("Every accepted command and every event on its way; done rows are kept for some days", {
        "id": "place in the order of acceptance", "kind": "command or event", "message_key": "the thread's id",
        "payload_json": "the message as it is sent", "sequence": "of an event: its sequence",
        "status": "`pending`; `sent` = in Redis; `done` = handled (an event: in Redis); `failed` = dead letter",
        "outcome": "of a done command: applied or rejected", "outcome_json": "the answer, or the error",
        "attempt_count": "how often it was published", "sent_at": "when it was published last",
    }),
    "idempotency_keys": ("Which command a client's key stood for; kept for 7 days", {
        "scope": "credential and route", "key": "the client's key", "body_hash": "SHA-256 of the body",
        "command_id": "the command",
    }),
    "dead_letters": ("Messages that nobody could handle", {
        "id": "its number", "status": "open, or what was done about it",
        "reason": "malformed, foreign, a handler's fault, ...",
        "error": "what went wrong", "traceback": "where in the program", "attempts": "how often it was tried",
        "handler": "who tried", "consumer_group": "for which group", "entry_id": "the stream entry",
        "metadata_json": "its metadata", "payload": "its payload, as it came", "first_failed_at": "first failure",
        "last_failed_at": "last failure",
    }),
    "forum_thread_reads": ("Up to where each viewer has seen each thread", {
        "last_seen_event_sequence": "the newest event seen; 0 = marked unseen",
    }),
    "forum_projection_events": ("View: which event was applied to which read model, the newest 100,000 per model", {}),
    "forum_thread_views": (f"{_READ_MODEL}: every thread as lists show it, and three columns for the order", {
        "priority_rank": "0 (low) to 3 (urgent)", "bucket": "state and way of waiting as a number",
        "opened_sequence": "the event that opened it",
    }),
    "forum_thread_stats": (f"{_READ_MODEL}: how many threads there are of each kind", {"run_id": "empty: no run"}),
    "forum_agent_inbox": (f"{_READ_MODEL}: what each agent asked, and how far it is answered", {
        "run_id": "empty: no run", "answers_count": "answers so far", "last_answer_post_id": "the newest answer",
        "last_answer_sequence": "its event", "last_answer_at": "its time",
        "last_answer_by_type": "actor type of its author",
        "last_answer_by_name": "name of its author",
    }),
}  # fmt: skip
INTERNAL: dict[str, str] = {
    "metawsm_meta": "what the database knows about itself: id, epoch, a rebuild that runs",
    "forum_seen_ranges": "ranges of seen threads, for the unseen queue",
    "projection_batches": "what `forum_projection_events` is made of",
    "projection_cursors": "how far each read model is, and its version",
    "forum_waiting_counts": "how many threads wait, by ticket",
    "forum_search": "the full-text index (FTS5, without a copy of the texts)",
    "forum_search_threads": "which thread a hit of the full-text index belongs to",
}
