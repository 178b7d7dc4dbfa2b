"""The tables of truth. Read models have their own DDL beside their code and are rebuilt, never migrated.

The columns that people and programs query by hand are promised by the contract, section 4.
"""

from __future__ import annotations

from metawsm.bus.ports import Db
from metawsm.messages.thread_rows import DDL as THREAD_COLUMNS

# AUTOINCREMENT where an id is compared across crashes: a re-used one would look like a duplicate.
FIRST = f"""
CREATE TABLE metawsm_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE forum_threads ({THREAD_COLUMNS});

CREATE TABLE forum_posts (
    post_id TEXT PRIMARY KEY, thread_id TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL,
    body TEXT NOT NULL, signal_json TEXT, actor_type TEXT NOT NULL, actor_name TEXT, created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX forum_posts_thread ON forum_posts (thread_id, sequence);

CREATE TABLE forum_state_transitions (
    sequence INTEGER PRIMARY KEY, thread_id TEXT NOT NULL, from_state TEXT, to_state TEXT NOT NULL, reason TEXT,
    actor_type TEXT NOT NULL, actor_name TEXT, occurred_at TEXT NOT NULL
);
CREATE INDEX forum_state_transitions_thread ON forum_state_transitions (thread_id, sequence);

CREATE TABLE forum_assignments (
    sequence INTEGER PRIMARY KEY, thread_id TEXT NOT NULL, assignee_type TEXT, assignee_name TEXT, note TEXT,
    actor_type TEXT NOT NULL, actor_name TEXT, assigned_at TEXT NOT NULL
);
CREATE INDEX forum_assignments_thread ON forum_assignments (thread_id, sequence);

CREATE TABLE forum_control_threads (
    run_id TEXT NOT NULL, agent_name TEXT NOT NULL, ticket TEXT NOT NULL, thread_id TEXT NOT NULL UNIQUE,
    PRIMARY KEY (run_id, agent_name)
) WITHOUT ROWID;

CREATE TABLE forum_events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, event_type TEXT NOT NULL,
    event_version INTEGER NOT NULL, occurred_at TEXT NOT NULL, thread_id TEXT, run_id TEXT, ticket TEXT NOT NULL,
    agent_name TEXT, actor_type TEXT NOT NULL, actor_name TEXT, actor_known_by TEXT, correlation_id TEXT NOT NULL,
    causation_id TEXT, payload_json TEXT NOT NULL
);
CREATE INDEX forum_events_thread ON forum_events (thread_id, sequence);
CREATE INDEX forum_events_ticket ON forum_events (ticket, sequence);
CREATE INDEX forum_events_run ON forum_events (run_id, sequence) WHERE run_id IS NOT NULL;

CREATE TABLE forum_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, topic TEXT NOT NULL,
    message_key TEXT NOT NULL, payload_json TEXT NOT NULL, sequence INTEGER,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'done', 'failed')),
    outcome TEXT, outcome_json TEXT, attempt_count INTEGER NOT NULL DEFAULT 0, last_error TEXT,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, sent_at TEXT
);
CREATE INDEX forum_outbox_lane ON forum_outbox (message_key, id)
    WHERE kind = 'command' AND status IN ('pending', 'sent');
CREATE INDEX forum_outbox_undone ON forum_outbox (status, id) WHERE status <> 'done';

CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL, key TEXT NOT NULL, body_hash BLOB NOT NULL, command_id TEXT NOT NULL, created_at TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, status TEXT NOT NULL DEFAULT 'open', reason TEXT NOT NULL, error TEXT,
    traceback TEXT, attempts INTEGER NOT NULL, handler TEXT NOT NULL, consumer_group TEXT NOT NULL, topic TEXT NOT NULL,
    entry_id TEXT NOT NULL, message_id TEXT, metadata_json TEXT, payload BLOB, first_failed_at TEXT NOT NULL,
    last_failed_at TEXT NOT NULL, UNIQUE (consumer_group, topic, entry_id)
);
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE status = 'open';

CREATE TABLE forum_thread_reads (
    viewer_type TEXT NOT NULL, viewer_id TEXT NOT NULL, thread_id TEXT NOT NULL,
    last_seen_event_sequence INTEGER NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (viewer_type, viewer_id, thread_id)
) WITHOUT ROWID;

-- Where a viewer has seen every thread of a scope and rank: lets the unseen queue leap (bus/unseen.py).
CREATE TABLE forum_seen_ranges (
    viewer_type TEXT NOT NULL, viewer_id TEXT NOT NULL, scope TEXT NOT NULL, priority_rank INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL, first_sequence INTEGER NOT NULL,
    PRIMARY KEY (viewer_type, viewer_id, scope, priority_rank, last_sequence)
) WITHOUT ROWID;

CREATE TABLE projection_batches (
    projection_name TEXT NOT NULL, first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
    applied_at TEXT NOT NULL, PRIMARY KEY (projection_name, last_sequence)
) WITHOUT ROWID;
CREATE TABLE projection_cursors (
    projection_name TEXT PRIMARY KEY, version INTEGER NOT NULL, sequence INTEGER NOT NULL, updated_at TEXT NOT NULL
) WITHOUT ROWID;
-- A row per event and projection would be written for every event; a row per batch says the same.
CREATE VIEW forum_projection_events (projection_name, event_id, applied_at) AS
    SELECT b.projection_name, e.event_id, b.applied_at
    FROM projection_batches b JOIN forum_events e ON e.sequence BETWEEN b.first_sequence AND b.last_sequence;
"""

PRUNING = """
CREATE INDEX forum_outbox_ended ON forum_outbox (updated_at) WHERE status IN ('done', 'failed');
"""

# Which command a letter is about, who ended it, and whether what is large in it had to go (storage/dead_letters.py).
LETTERS = """
ALTER TABLE dead_letters ADD COLUMN command_id TEXT;
ALTER TABLE dead_letters ADD COLUMN thread_id TEXT;
ALTER TABLE dead_letters ADD COLUMN ended_at TEXT;
ALTER TABLE dead_letters ADD COLUMN ended_by_type TEXT;
ALTER TABLE dead_letters ADD COLUMN ended_by_name TEXT;
ALTER TABLE dead_letters ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;
UPDATE dead_letters SET command_id = message_id WHERE reason = 'handler_failed';
CREATE INDEX dead_letters_command ON dead_letters (command_id) WHERE command_id IS NOT NULL;
CREATE INDEX dead_letters_reason ON dead_letters (reason) WHERE status = 'open';
CREATE INDEX dead_letters_whole ON dead_letters (id) WHERE status = 'open' AND cut = 0;
CREATE INDEX dead_letters_cut ON dead_letters (id) WHERE status = 'open' AND cut = 1;
CREATE INDEX dead_letters_ended ON dead_letters (ended_at) WHERE ended_at IS NOT NULL;
"""

# How much a letter holds is told from the index: of many that are whole, the large ones are few.
LARGE_LETTER = (
    "coalesce(length(payload), 0) + coalesce(length(metadata_json), 0) + coalesce(length(traceback), 0) > 16384"
)
LARGE_LETTERS = f"""
CREATE INDEX dead_letters_large ON dead_letters (id) WHERE status = 'open' AND cut = 0 AND {LARGE_LETTER};
"""

# Which answers came before an agent, and which it has read. Follows from the events, as the posts do.
ANSWER = "(kind = 'answer' OR kind = 'signal' AND json_extract(signal_json, '$.control_type') = 'guidance_answer')"
RECEIPTS = f"""
CREATE TABLE forum_post_receipts (
    post_id TEXT NOT NULL, reader_type TEXT NOT NULL, reader_name TEXT NOT NULL, delivered_how TEXT, delivered_at TEXT,
    read_at TEXT, PRIMARY KEY (post_id, reader_type, reader_name)
) WITHOUT ROWID;
CREATE INDEX forum_posts_answers ON forum_posts (thread_id, sequence) WHERE {ANSWER};
"""

# Runs with their steps, agents and briefs (domain/run.py), the jobs that act outside, and how far reactions are.
RUNS = """
CREATE TABLE runs (
    created_sequence INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, mode TEXT NOT NULL, state TEXT NOT NULL,
    state_since TEXT NOT NULL, reason TEXT, round INTEGER NOT NULL, repos_json TEXT NOT NULL,
    doc_home_repo TEXT NOT NULL,
    base TEXT NOT NULL, strategy TEXT NOT NULL, seeded INTEGER NOT NULL, workspaces_json TEXT NOT NULL,
    repositories_json TEXT NOT NULL, action_from INTEGER NOT NULL, created_at TEXT NOT NULL,
    created_by_type TEXT NOT NULL,
    created_by_name TEXT, updated_at TEXT NOT NULL, last_event_sequence INTEGER NOT NULL
);
CREATE INDEX runs_active ON runs (state) WHERE state NOT IN ('closed', 'stopped');
CREATE TABLE run_tickets (
    run_id TEXT NOT NULL, position INTEGER NOT NULL, ticket TEXT NOT NULL, created_sequence INTEGER NOT NULL,
    PRIMARY KEY (run_id, position)
) WITHOUT ROWID;
CREATE INDEX run_tickets_ticket ON run_tickets (ticket, created_sequence);
CREATE TABLE run_briefs (
    run_id TEXT PRIMARY KEY, goal TEXT NOT NULL, scope TEXT NOT NULL, done_criteria TEXT NOT NULL,
    constraints TEXT NOT NULL, merge_intent TEXT NOT NULL, created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE steps (
    run_id TEXT NOT NULL, step_index INTEGER NOT NULL, action TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    args_json TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, error TEXT, result_json TEXT,
    started_at TEXT, ended_at TEXT, PRIMARY KEY (run_id, step_index)
) WITHOUT ROWID;
CREATE TABLE agents (
    run_id TEXT NOT NULL, position INTEGER NOT NULL, agent_name TEXT NOT NULL, profile TEXT NOT NULL,
    ticket TEXT NOT NULL,
    workspace TEXT NOT NULL, session TEXT NOT NULL, state TEXT NOT NULL, state_since TEXT NOT NULL, reason TEXT,
    exit_code INTEGER, control_thread TEXT, open_requests INTEGER NOT NULL, completed INTEGER NOT NULL,
    validation TEXT,
    done_criteria TEXT, round_sequence INTEGER NOT NULL, restarts INTEGER NOT NULL, restarted_at TEXT, folder TEXT,
    PRIMARY KEY (run_id, agent_name)
) WITHOUT ROWID;
CREATE INDEX agents_watched ON agents (state) WHERE state IN ('running', 'idle', 'stalled');
CREATE TABLE doc_sync_states (
    run_id TEXT NOT NULL, ticket TEXT NOT NULL, workspace TEXT NOT NULL, status TEXT NOT NULL, revision TEXT,
    error TEXT,
    updated_at TEXT NOT NULL, PRIMARY KEY (run_id, ticket, workspace)
) WITHOUT ROWID;

-- What was measured of agents and checkouts: no facts, only the newest look.
CREATE TABLE agent_measures (
    run_id TEXT NOT NULL, agent_name TEXT NOT NULL, last_activity_at TEXT, last_progress_at TEXT,
    measured_at TEXT NOT NULL,
    PRIMARY KEY (run_id, agent_name)
) WITHOUT ROWID;
CREATE TABLE checkout_measures (
    run_id TEXT NOT NULL, workspace TEXT NOT NULL, repo TEXT NOT NULL, files_json TEXT NOT NULL,
    more INTEGER NOT NULL,
    error TEXT, last_change_at TEXT, measured_at TEXT NOT NULL, PRIMARY KEY (run_id, workspace, repo)
) WITHOUT ROWID;

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, job_key TEXT NOT NULL UNIQUE, lane TEXT NOT NULL,
    run_id TEXT, payload_json TEXT NOT NULL, epoch INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'held', 'done', 'failed')),
    attempt INTEGER NOT NULL DEFAULT 0, not_before TEXT NOT NULL, boot TEXT, error TEXT,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE INDEX jobs_open ON jobs (not_before, id) WHERE status IN ('pending', 'running');
CREATE INDEX jobs_held ON jobs (id) WHERE status = 'held';
CREATE INDEX jobs_ended ON jobs (updated_at) WHERE status IN ('done', 'failed');

CREATE TABLE subscriber_cursors (
    subscriber TEXT PRIMARY KEY, sequence INTEGER NOT NULL, updated_at TEXT NOT NULL
) WITHOUT ROWID;
"""

# How far the work of a run has come beyond its base, for each checkout that was looked at.
AHEAD = "ALTER TABLE checkout_measures ADD COLUMN ahead INTEGER"

# What costs each command without helping any program: a list in CHECK is made anew as a table for every statement that
# sets the column; no code asks for the moves and assignments of one thread; and a row per batch is enough, under `*`.
_LISTED = "CHECK (status IN ('pending', 'sent', 'done', 'failed'))"
_SPELLED = "CHECK (status = 'pending' OR status = 'sent' OR status = 'done' OR status = 'failed')"
LEAN = """
DROP INDEX forum_state_transitions_thread;
DROP INDEX forum_assignments_thread;
DROP VIEW forum_projection_events;
CREATE VIEW forum_projection_events (projection_name, event_id, applied_at) AS
    SELECT c.projection_name, e.event_id, b.applied_at
    FROM projection_batches b JOIN projection_cursors c ON b.projection_name IN ('*', c.projection_name)
    JOIN forum_events e ON e.sequence BETWEEN b.first_sequence AND b.last_sequence;
"""


def spell_out_status(db: Db) -> None:
    """Write the outbox's CHECK in the quick form; it means the same, so that no row need be looked at.

    The procedure is SQLite's own for a changed constraint: https://sqlite.org/lang_altertable.html#otheralter
    """
    ((version,),) = db.execute("PRAGMA schema_version")
    for _ in db.execute("PRAGMA writable_schema = ON"):
        pass
    db.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'forum_outbox'", (_LISTED, _SPELLED))
    for _ in db.execute(f"PRAGMA schema_version = {version + 1}; PRAGMA writable_schema = RESET"):
        pass
