BEGIN;
PRAGMA application_id = 1836544817;
PRAGMA user_version = 6;
CREATE TABLE schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT;
CREATE TABLE metawsm_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE forum_threads (
    thread_id TEXT PRIMARY KEY, ticket TEXT NOT NULL, title TEXT NOT NULL, state TEXT NOT NULL, priority TEXT NOT NULL,
    opened_by_type TEXT NOT NULL, opened_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    last_event_sequence INTEGER NOT NULL, version_sequence INTEGER NOT NULL, run_id TEXT, agent_name TEXT,
    opened_by_name TEXT, assignee_type TEXT, assignee_name TEXT, posts_count INTEGER NOT NULL, last_post_at TEXT,
    last_post_by_type TEXT, last_post_by_name TEXT, last_actor_type TEXT, asker_last INTEGER NOT NULL,
    waiting_since TEXT, escalation_level INTEGER NOT NULL, closed_at TEXT, open_requests TEXT
);
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
    last_failed_at TEXT NOT NULL, command_id TEXT, thread_id TEXT, ended_at TEXT, ended_by_type TEXT, ended_by_name TEXT, cut INTEGER NOT NULL DEFAULT 0, UNIQUE (consumer_group, topic, entry_id)
);
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE status = 'open';
CREATE TABLE forum_thread_reads (
    viewer_type TEXT NOT NULL, viewer_id TEXT NOT NULL, thread_id TEXT NOT NULL,
    last_seen_event_sequence INTEGER NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (viewer_type, viewer_id, thread_id)
) WITHOUT ROWID;
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
CREATE VIEW forum_projection_events (projection_name, event_id, applied_at) AS
    SELECT b.projection_name, e.event_id, b.applied_at
    FROM projection_batches b JOIN forum_events e ON e.sequence BETWEEN b.first_sequence AND b.last_sequence;
CREATE INDEX forum_outbox_ended ON forum_outbox (updated_at) WHERE status IN ('done', 'failed');
CREATE INDEX dead_letters_command ON dead_letters (command_id) WHERE command_id IS NOT NULL;
CREATE INDEX dead_letters_reason ON dead_letters (reason) WHERE status = 'open';
CREATE INDEX dead_letters_whole ON dead_letters (id) WHERE status = 'open' AND cut = 0;
CREATE INDEX dead_letters_cut ON dead_letters (id) WHERE status = 'open' AND cut = 1;
CREATE INDEX dead_letters_ended ON dead_letters (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX dead_letters_large ON dead_letters (id) WHERE status = 'open' AND cut = 0 AND coalesce(length(payload), 0) + coalesce(length(metadata_json), 0) + coalesce(length(traceback), 0) > 16384;
CREATE TABLE forum_post_receipts (
    post_id TEXT NOT NULL, reader_type TEXT NOT NULL, reader_name TEXT NOT NULL, delivered_how TEXT, delivered_at TEXT,
    read_at TEXT, PRIMARY KEY (post_id, reader_type, reader_name)
) WITHOUT ROWID;
CREATE INDEX forum_posts_answers ON forum_posts (thread_id, sequence) WHERE (kind = 'answer' OR kind = 'signal' AND json_extract(signal_json, '$.control_type') = 'guidance_answer');
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
INSERT INTO schema_migrations VALUES (1, 'the forum', '2026-11-29T07:27:18.345521Z');
INSERT INTO schema_migrations VALUES (2, 'ended outbox rows by age', '2026-11-29T07:27:18.356329Z');
INSERT INTO schema_migrations VALUES (3, 'dead letters end', '2026-11-29T07:27:18.361284Z');
INSERT INTO schema_migrations VALUES (4, 'large dead letters', '2026-11-29T07:27:18.364263Z');
INSERT INTO schema_migrations VALUES (5, 'receipts of answers', '2026-11-29T07:27:18.364930Z');
INSERT INTO schema_migrations VALUES (6, 'runs and jobs', '2026-11-29T07:27:18.368876Z');
INSERT INTO metawsm_meta VALUES ('database_id', 'db-01a22633-7da6-77f0-a2e4-3ddab754bf61');
INSERT INTO metawsm_meta VALUES ('epoch', '1');
INSERT INTO metawsm_meta VALUES ('schema_program', '0.1.0');
INSERT INTO forum_threads VALUES ('fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', 'M-1', 'Which schema?', 'closed', 'urgent', 'agent', '2026-11-29T07:27:18.632841Z', '2026-11-29T07:27:18.681824Z', 8, 7, NULL, NULL, 'ann', 'human', 'kb', 3, '2026-11-29T07:27:18.660264Z', 'operator', 'op', 'operator', 0, NULL, 0, '2026-11-29T07:27:18.668554Z', NULL);
INSERT INTO forum_threads VALUES ('fctrl-run-1-ann', 'M-1', 'Control thread of ann in run-1', 'waiting_human', 'normal', 'agent', '2026-11-29T07:27:18.689867Z', '2026-11-29T07:27:18.700656Z', 12, 12, 'run-1', 'ann', NULL, NULL, NULL, 3, '2026-11-29T07:27:18.700656Z', 'agent', NULL, 'agent', 1, '2026-11-29T07:27:18.689867Z', 0, NULL, '["fevt-01a22633-7ea2-78f0-a8d9-ae4b6d4f3206.post"]');
INSERT INTO forum_posts VALUES ('fevt-01a22633-7e68-70f6-9e2d-c04d08f8a7f0.post', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', 1, 'post', 'an aardvark, v1?
or ''v2''?', NULL, 'agent', 'ann', '2026-11-29T07:27:18.632841Z');
INSERT INTO forum_posts VALUES ('fevt-01a22633-7e70-76ee-b6c8-b7bdd404e530.post', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', 2, 'post', 'café', NULL, 'operator', 'op', '2026-11-29T07:27:18.640536Z');
INSERT INTO forum_posts VALUES ('fevt-01a22633-7e84-74af-aca3-625363ce6a58.post', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', 5, 'answer', 'v2', NULL, 'operator', 'op', '2026-11-29T07:27:18.660264Z');
INSERT INTO forum_posts VALUES ('fevt-01a22633-7ea1-7712-a040-fffb8bd117aa.post', 'fctrl-run-1-ann', 9, 'post', 'Control signals of agent ann in run run-1.', NULL, 'agent', NULL, '2026-11-29T07:27:18.689867Z');
INSERT INTO forum_posts VALUES ('fevt-01a22633-7ea2-78f0-a8d9-ae4b6d4f3206.post', 'fctrl-run-1-ann', 10, 'signal', 'port?', '{"schema_version":1,"run_id":"run-1","agent_name":"ann","control_type":"guidance_request","question":"port?"}', 'agent', NULL, '2026-11-29T07:27:18.689867Z');
INSERT INTO forum_posts VALUES ('fevt-01a22633-7eac-7dba-8488-20a8897904f6.post', 'fctrl-run-1-ann', 12, 'signal', 'completion', '{"schema_version":1,"run_id":"run-1","agent_name":"ann","control_type":"completion"}', 'agent', NULL, '2026-11-29T07:27:18.700656Z');
INSERT INTO forum_state_transitions VALUES (1, 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'new', NULL, 'agent', 'ann', '2026-11-29T07:27:18.632841Z');
INSERT INTO forum_state_transitions VALUES (6, 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', 'new', 'answered', NULL, 'operator', 'op', '2026-11-29T07:27:18.660264Z');
INSERT INTO forum_state_transitions VALUES (7, 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', 'answered', 'closed', 'done', 'operator', 'op', '2026-11-29T07:27:18.668554Z');
INSERT INTO forum_state_transitions VALUES (9, 'fctrl-run-1-ann', NULL, 'new', NULL, 'agent', NULL, '2026-11-29T07:27:18.689867Z');
INSERT INTO forum_state_transitions VALUES (11, 'fctrl-run-1-ann', 'new', 'waiting_human', 'guidance requested', 'agent', NULL, '2026-11-29T07:27:18.689867Z');
INSERT INTO forum_assignments VALUES (3, 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', 'human', 'kb', NULL, 'operator', 'op', '2026-11-29T07:27:18.648311Z');
INSERT INTO forum_control_threads VALUES ('run-1', 'ann', 'M-1', 'fctrl-run-1-ann');
INSERT INTO forum_events VALUES (1, 'fevt-01a22633-7e68-70f6-9e2d-c04d08f8a7f0', 'forum.thread.opened', 1, '2026-11-29T07:27:18.632841Z', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'M-1', NULL, 'agent', 'ann', 'token', 'fcmd-01a22633-7e64-761f-8650-b8f78a26abdf', 'fcmd-01a22633-7e64-761f-8650-b8f78a26abdf', '{"title":"Which schema?","body":"an aardvark, v1?\nor ''v2''?","priority":"normal"}');
INSERT INTO forum_events VALUES (2, 'fevt-01a22633-7e70-76ee-b6c8-b7bdd404e530', 'forum.post.added', 1, '2026-11-29T07:27:18.640536Z', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'M-1', NULL, 'operator', 'op', 'token', 'fcmd-01a22633-7e6d-7040-977e-54f4268de284', 'fcmd-01a22633-7e6d-7040-977e-54f4268de284', '{"body":"café","kind":"post","post_id":"fevt-01a22633-7e70-76ee-b6c8-b7bdd404e530.post"}');
INSERT INTO forum_events VALUES (3, 'fevt-01a22633-7e78-77d2-9a29-fb445ef0bcbf', 'forum.assigned', 1, '2026-11-29T07:27:18.648311Z', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'M-1', NULL, 'operator', 'op', 'token', 'fcmd-01a22633-7e73-77cc-a108-579108589da4', 'fcmd-01a22633-7e73-77cc-a108-579108589da4', '{"from_assignee_type":"","from_assignee_name":"","to_assignee_type":"human","to_assignee_name":"kb"}');
INSERT INTO forum_events VALUES (4, 'fevt-01a22633-7e7c-7a9a-b441-291116d26a5b', 'forum.priority.changed', 1, '2026-11-29T07:27:18.652574Z', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'M-1', NULL, 'operator', 'op', 'token', 'fcmd-01a22633-7e79-7771-a936-b9996baca796', 'fcmd-01a22633-7e79-7771-a936-b9996baca796', '{"from_priority":"normal","to_priority":"urgent"}');
INSERT INTO forum_events VALUES (5, 'fevt-01a22633-7e84-74af-aca3-625363ce6a58', 'forum.post.added', 1, '2026-11-29T07:27:18.660264Z', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'M-1', NULL, 'operator', 'op', 'token', 'fcmd-01a22633-7e80-72b1-a87e-490635630f84', 'fcmd-01a22633-7e80-72b1-a87e-490635630f84', '{"body":"v2","kind":"answer","post_id":"fevt-01a22633-7e84-74af-aca3-625363ce6a58.post"}');
INSERT INTO forum_events VALUES (6, 'fevt-01a22633-7e84-7040-9f43-ca65a01eaec0', 'forum.state.changed', 1, '2026-11-29T07:27:18.660264Z', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'M-1', NULL, 'operator', 'op', 'token', 'fcmd-01a22633-7e80-72b1-a87e-490635630f84', 'fcmd-01a22633-7e80-72b1-a87e-490635630f84', '{"from_state":"new","to_state":"answered"}');
INSERT INTO forum_events VALUES (7, 'fevt-01a22633-7e8c-7bd1-8db0-5657a5e13bf7', 'forum.thread.closed', 1, '2026-11-29T07:27:18.668554Z', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'M-1', NULL, 'operator', 'op', 'token', 'fcmd-01a22633-7e8a-79b1-b7f0-6bd345d118aa', 'fcmd-01a22633-7e8a-79b1-b7f0-6bd345d118aa', '{"from_state":"answered","reason":"done"}');
INSERT INTO forum_events VALUES (8, 'fevt-01a22633-7e99-7c58-bfbe-40ce8bd2a74b', 'forum.post.read', 1, '2026-11-29T07:27:18.681824Z', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', NULL, 'M-1', NULL, 'system', NULL, 'system', 'fcmd-01a22633-7e99-7ad0-97da-3a83e9771f1e', 'fcmd-01a22633-7e99-7ad0-97da-3a83e9771f1e', '{"post_id":"fevt-01a22633-7e84-74af-aca3-625363ce6a58.post","reader_type":"agent","reader_name":"ann"}');
INSERT INTO forum_events VALUES (9, 'fevt-01a22633-7ea1-7712-a040-fffb8bd117aa', 'forum.thread.opened', 1, '2026-11-29T07:27:18.689867Z', 'fctrl-run-1-ann', 'run-1', 'M-1', 'ann', 'agent', NULL, 'token', 'fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1', 'fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1', '{"title":"Control thread of ann in run-1","body":"Control signals of agent ann in run run-1.","priority":"normal"}');
INSERT INTO forum_events VALUES (10, 'fevt-01a22633-7ea2-78f0-a8d9-ae4b6d4f3206', 'forum.control.signal', 1, '2026-11-29T07:27:18.689867Z', 'fctrl-run-1-ann', 'run-1', 'M-1', 'ann', 'agent', NULL, 'token', 'fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1', 'fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1', '{"signal":{"schema_version":1,"run_id":"run-1","agent_name":"ann","control_type":"guidance_request","question":"port?"},"post_id":"fevt-01a22633-7ea2-78f0-a8d9-ae4b6d4f3206.post"}');
INSERT INTO forum_events VALUES (11, 'fevt-01a22633-7ea2-74ab-852f-1b52e8b7ac8b', 'forum.state.changed', 1, '2026-11-29T07:27:18.689867Z', 'fctrl-run-1-ann', 'run-1', 'M-1', 'ann', 'agent', NULL, 'token', 'fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1', 'fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1', '{"from_state":"new","to_state":"waiting_human","reason":"guidance requested"}');
INSERT INTO forum_events VALUES (12, 'fevt-01a22633-7eac-7dba-8488-20a8897904f6', 'forum.control.signal', 1, '2026-11-29T07:27:18.700656Z', 'fctrl-run-1-ann', 'run-1', 'M-1', 'ann', 'agent', NULL, 'token', 'fcmd-01a22633-7ea8-7223-8c09-0a82397a3364', 'fcmd-01a22633-7ea8-7223-8c09-0a82397a3364', '{"signal":{"schema_version":1,"run_id":"run-1","agent_name":"ann","control_type":"completion"},"post_id":"fevt-01a22633-7eac-7dba-8488-20a8897904f6.post"}');
INSERT INTO forum_outbox VALUES (1, 'fcmd-01a22633-7e64-761f-8650-b8f78a26abdf', 'command', 'forum.commands.open_thread', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"envelope":{"event_id":"fcmd-01a22633-7e64-761f-8650-b8f78a26abdf","event_type":"forum.commands.open_thread","event_version":1,"occurred_at":"2026-11-29T07:27:18.629126Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7e64-761f-8650-b8f78a26abdf","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"ann","actor_known_by":"token"},"payload":{"ticket":"M-1","title":"Which schema?","body":"an aardvark, v1?\nor ''v2''?"}}', NULL, 'done', 'applied', '{"kind":"applied","status":201,"last_sequence":1,"body":{"thread":{"thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","ticket":"M-1","title":"Which schema?","state":"new","priority":"normal","opened_by_type":"agent","posts_count":1,"last_event_sequence":1,"version_sequence":1,"is_unanswered":true,"escalation_level":0,"opened_at":"2026-11-29T07:27:18.632841Z","updated_at":"2026-11-29T07:27:18.632841Z","opened_by_name":"ann","last_post_at":"2026-11-29T07:27:18.632841Z","last_post_by_type":"agent","last_post_by_name":"ann","last_actor_type":"agent","waiting_since":"2026-11-29T07:27:18.632841Z","due_at":"2026-11-29T07:57:18.632841Z"}}}', 1, NULL, '2026-11-29T07:27:18.629126Z', '2026-11-29T07:27:18.632841Z', '2026-11-29T07:27:18.632565Z');
INSERT INTO forum_outbox VALUES (2, 'fevt-01a22633-7e68-70f6-9e2d-c04d08f8a7f0', 'event', 'forum.events.thread.opened', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"sequence":1,"envelope":{"event_id":"fevt-01a22633-7e68-70f6-9e2d-c04d08f8a7f0","event_type":"forum.thread.opened","event_version":1,"occurred_at":"2026-11-29T07:27:18.632841Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7e64-761f-8650-b8f78a26abdf","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"ann","actor_known_by":"token","causation_id":"fcmd-01a22633-7e64-761f-8650-b8f78a26abdf"},"payload_json":"{\"title\":\"Which schema?\",\"body\":\"an aardvark, v1?\\nor ''v2''?\",\"priority\":\"normal\"}","payload":{"title":"Which schema?","body":"an aardvark, v1?\nor ''v2''?","priority":"normal"}}', 1, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.632841Z', '2026-11-29T07:27:18.640182Z', '2026-11-29T07:27:18.640182Z');
INSERT INTO forum_outbox VALUES (3, 'fcmd-01a22633-7e6d-7040-977e-54f4268de284', 'command', 'forum.commands.add_post', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"envelope":{"event_id":"fcmd-01a22633-7e6d-7040-977e-54f4268de284","event_type":"forum.commands.add_post","event_version":1,"occurred_at":"2026-11-29T07:27:18.637179Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e6d-7040-977e-54f4268de284","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token"},"payload":{"body":"café"}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"last_sequence":2,"body":{"thread":{"thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","ticket":"M-1","title":"Which schema?","state":"new","priority":"normal","opened_by_type":"agent","posts_count":2,"last_event_sequence":2,"version_sequence":2,"is_unanswered":false,"escalation_level":0,"opened_at":"2026-11-29T07:27:18.632841Z","updated_at":"2026-11-29T07:27:18.640536Z","opened_by_name":"ann","last_post_at":"2026-11-29T07:27:18.640536Z","last_post_by_type":"operator","last_post_by_name":"op","last_actor_type":"operator"}}}', 1, NULL, '2026-11-29T07:27:18.637179Z', '2026-11-29T07:27:18.640536Z', '2026-11-29T07:27:18.640536Z');
INSERT INTO forum_outbox VALUES (4, 'fevt-01a22633-7e70-76ee-b6c8-b7bdd404e530', 'event', 'forum.events.post.added', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"sequence":2,"envelope":{"event_id":"fevt-01a22633-7e70-76ee-b6c8-b7bdd404e530","event_type":"forum.post.added","event_version":1,"occurred_at":"2026-11-29T07:27:18.640536Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e6d-7040-977e-54f4268de284","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token","causation_id":"fcmd-01a22633-7e6d-7040-977e-54f4268de284"},"payload_json":"{\"body\":\"café\",\"kind\":\"post\",\"post_id\":\"fevt-01a22633-7e70-76ee-b6c8-b7bdd404e530.post\"}","payload":{"body":"café","kind":"post","post_id":"fevt-01a22633-7e70-76ee-b6c8-b7bdd404e530.post"}}', 2, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.640536Z', '2026-11-29T07:27:18.648220Z', '2026-11-29T07:27:18.648220Z');
INSERT INTO forum_outbox VALUES (5, 'fcmd-01a22633-7e73-77cc-a108-579108589da4', 'command', 'forum.commands.assign_thread', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"envelope":{"event_id":"fcmd-01a22633-7e73-77cc-a108-579108589da4","event_type":"forum.commands.assign_thread","event_version":1,"occurred_at":"2026-11-29T07:27:18.643497Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e73-77cc-a108-579108589da4","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token"},"payload":{"assignee_type":"human","assignee_name":"kb"}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"last_sequence":3,"body":{"thread":{"thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","ticket":"M-1","title":"Which schema?","state":"new","priority":"normal","opened_by_type":"agent","posts_count":2,"last_event_sequence":3,"version_sequence":3,"is_unanswered":false,"escalation_level":0,"opened_at":"2026-11-29T07:27:18.632841Z","updated_at":"2026-11-29T07:27:18.648311Z","assignee_type":"human","assignee_name":"kb","opened_by_name":"ann","last_post_at":"2026-11-29T07:27:18.640536Z","last_post_by_type":"operator","last_post_by_name":"op","last_actor_type":"operator"}}}', 1, NULL, '2026-11-29T07:27:18.643497Z', '2026-11-29T07:27:18.648311Z', '2026-11-29T07:27:18.648311Z');
INSERT INTO forum_outbox VALUES (6, 'fevt-01a22633-7e78-77d2-9a29-fb445ef0bcbf', 'event', 'forum.events.assigned', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"sequence":3,"envelope":{"event_id":"fevt-01a22633-7e78-77d2-9a29-fb445ef0bcbf","event_type":"forum.assigned","event_version":1,"occurred_at":"2026-11-29T07:27:18.648311Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e73-77cc-a108-579108589da4","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token","causation_id":"fcmd-01a22633-7e73-77cc-a108-579108589da4"},"payload_json":"{\"from_assignee_type\":\"\",\"from_assignee_name\":\"\",\"to_assignee_type\":\"human\",\"to_assignee_name\":\"kb\"}","payload":{"from_assignee_type":"","from_assignee_name":"","to_assignee_type":"human","to_assignee_name":"kb"}}', 3, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.648311Z', '2026-11-29T07:27:18.652516Z', '2026-11-29T07:27:18.652516Z');
INSERT INTO forum_outbox VALUES (7, 'fcmd-01a22633-7e79-7771-a936-b9996baca796', 'command', 'forum.commands.set_priority', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"envelope":{"event_id":"fcmd-01a22633-7e79-7771-a936-b9996baca796","event_type":"forum.commands.set_priority","event_version":1,"occurred_at":"2026-11-29T07:27:18.649927Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e79-7771-a936-b9996baca796","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token"},"payload":{"priority":"urgent"}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"last_sequence":4,"body":{"thread":{"thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","ticket":"M-1","title":"Which schema?","state":"new","priority":"urgent","opened_by_type":"agent","posts_count":2,"last_event_sequence":4,"version_sequence":4,"is_unanswered":false,"escalation_level":0,"opened_at":"2026-11-29T07:27:18.632841Z","updated_at":"2026-11-29T07:27:18.652574Z","assignee_type":"human","assignee_name":"kb","opened_by_name":"ann","last_post_at":"2026-11-29T07:27:18.640536Z","last_post_by_type":"operator","last_post_by_name":"op","last_actor_type":"operator"}}}', 1, NULL, '2026-11-29T07:27:18.649927Z', '2026-11-29T07:27:18.652574Z', '2026-11-29T07:27:18.652574Z');
INSERT INTO forum_outbox VALUES (8, 'fevt-01a22633-7e7c-7a9a-b441-291116d26a5b', 'event', 'forum.events.priority.changed', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"sequence":4,"envelope":{"event_id":"fevt-01a22633-7e7c-7a9a-b441-291116d26a5b","event_type":"forum.priority.changed","event_version":1,"occurred_at":"2026-11-29T07:27:18.652574Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e79-7771-a936-b9996baca796","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token","causation_id":"fcmd-01a22633-7e79-7771-a936-b9996baca796"},"payload_json":"{\"from_priority\":\"normal\",\"to_priority\":\"urgent\"}","payload":{"from_priority":"normal","to_priority":"urgent"}}', 4, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.652574Z', '2026-11-29T07:27:18.660180Z', '2026-11-29T07:27:18.660180Z');
INSERT INTO forum_outbox VALUES (9, 'fcmd-01a22633-7e80-72b1-a87e-490635630f84', 'command', 'forum.commands.answer_thread', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"envelope":{"event_id":"fcmd-01a22633-7e80-72b1-a87e-490635630f84","event_type":"forum.commands.answer_thread","event_version":1,"occurred_at":"2026-11-29T07:27:18.656941Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e80-72b1-a87e-490635630f84","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token"},"payload":{"body":"v2"}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"last_sequence":6,"body":{"thread":{"thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","ticket":"M-1","title":"Which schema?","state":"answered","priority":"urgent","opened_by_type":"agent","posts_count":3,"last_event_sequence":6,"version_sequence":6,"is_unanswered":false,"escalation_level":0,"opened_at":"2026-11-29T07:27:18.632841Z","updated_at":"2026-11-29T07:27:18.660264Z","assignee_type":"human","assignee_name":"kb","opened_by_name":"ann","last_post_at":"2026-11-29T07:27:18.660264Z","last_post_by_type":"operator","last_post_by_name":"op","last_actor_type":"operator"}}}', 1, NULL, '2026-11-29T07:27:18.656941Z', '2026-11-29T07:27:18.660264Z', '2026-11-29T07:27:18.660264Z');
INSERT INTO forum_outbox VALUES (10, 'fevt-01a22633-7e84-74af-aca3-625363ce6a58', 'event', 'forum.events.post.added', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"sequence":5,"envelope":{"event_id":"fevt-01a22633-7e84-74af-aca3-625363ce6a58","event_type":"forum.post.added","event_version":1,"occurred_at":"2026-11-29T07:27:18.660264Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e80-72b1-a87e-490635630f84","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token","causation_id":"fcmd-01a22633-7e80-72b1-a87e-490635630f84"},"payload_json":"{\"body\":\"v2\",\"kind\":\"answer\",\"post_id\":\"fevt-01a22633-7e84-74af-aca3-625363ce6a58.post\"}","payload":{"body":"v2","kind":"answer","post_id":"fevt-01a22633-7e84-74af-aca3-625363ce6a58.post"}}', 5, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.660264Z', '2026-11-29T07:27:18.666611Z', '2026-11-29T07:27:18.666611Z');
INSERT INTO forum_outbox VALUES (11, 'fevt-01a22633-7e84-7040-9f43-ca65a01eaec0', 'event', 'forum.events.state.changed', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"sequence":6,"envelope":{"event_id":"fevt-01a22633-7e84-7040-9f43-ca65a01eaec0","event_type":"forum.state.changed","event_version":1,"occurred_at":"2026-11-29T07:27:18.660264Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e80-72b1-a87e-490635630f84","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token","causation_id":"fcmd-01a22633-7e80-72b1-a87e-490635630f84"},"payload_json":"{\"from_state\":\"new\",\"to_state\":\"answered\"}","payload":{"from_state":"new","to_state":"answered"}}', 6, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.660264Z', '2026-11-29T07:27:18.666611Z', '2026-11-29T07:27:18.666611Z');
INSERT INTO forum_outbox VALUES (12, 'fcmd-01a22633-7e8a-79b1-b7f0-6bd345d118aa', 'command', 'forum.commands.close_thread', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"envelope":{"event_id":"fcmd-01a22633-7e8a-79b1-b7f0-6bd345d118aa","event_type":"forum.commands.close_thread","event_version":1,"occurred_at":"2026-11-29T07:27:18.666903Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e8a-79b1-b7f0-6bd345d118aa","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token"},"payload":{"reason":"done"}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"last_sequence":7,"body":{"thread":{"thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","ticket":"M-1","title":"Which schema?","state":"closed","priority":"urgent","opened_by_type":"agent","posts_count":3,"last_event_sequence":7,"version_sequence":7,"is_unanswered":false,"escalation_level":0,"opened_at":"2026-11-29T07:27:18.632841Z","updated_at":"2026-11-29T07:27:18.668554Z","assignee_type":"human","assignee_name":"kb","opened_by_name":"ann","last_post_at":"2026-11-29T07:27:18.660264Z","last_post_by_type":"operator","last_post_by_name":"op","last_actor_type":"operator","closed_at":"2026-11-29T07:27:18.668554Z"}}}', 1, NULL, '2026-11-29T07:27:18.666903Z', '2026-11-29T07:27:18.668554Z', '2026-11-29T07:27:18.668554Z');
INSERT INTO forum_outbox VALUES (13, 'fevt-01a22633-7e8c-7bd1-8db0-5657a5e13bf7', 'event', 'forum.events.thread.closed', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"sequence":7,"envelope":{"event_id":"fevt-01a22633-7e8c-7bd1-8db0-5657a5e13bf7","event_type":"forum.thread.closed","event_version":1,"occurred_at":"2026-11-29T07:27:18.668554Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e8a-79b1-b7f0-6bd345d118aa","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token","causation_id":"fcmd-01a22633-7e8a-79b1-b7f0-6bd345d118aa"},"payload_json":"{\"from_state\":\"answered\",\"reason\":\"done\"}","payload":{"from_state":"answered","reason":"done"}}', 7, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.668554Z', '2026-11-29T07:27:18.674508Z', '2026-11-29T07:27:18.674508Z');
INSERT INTO forum_outbox VALUES (14, 'fcmd-01a22633-7e92-7866-ab62-af2e5d3a1c20', 'command', 'forum.commands.mark_seen', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"envelope":{"event_id":"fcmd-01a22633-7e92-7866-ab62-af2e5d3a1c20","event_type":"forum.commands.mark_seen","event_version":1,"occurred_at":"2026-11-29T07:27:18.674766Z","ticket":"M-1","actor_type":"operator","correlation_id":"fcmd-01a22633-7e92-7866-ab62-af2e5d3a1c20","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"op","actor_known_by":"token"},"payload":{"viewer_type":"human","viewer_id":"kb"}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"body":{"seen":{"thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","viewer_type":"human","viewer_id":"kb","last_seen_event_sequence":7}}}', 1, NULL, '2026-11-29T07:27:18.674766Z', '2026-11-29T07:27:18.676473Z', '2026-11-29T07:27:18.676473Z');
INSERT INTO forum_outbox VALUES (15, 'fcmd-01a22633-7e99-7ad0-97da-3a83e9771f1e', 'command', 'forum.commands.read_answers', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"envelope":{"event_id":"fcmd-01a22633-7e99-7ad0-97da-3a83e9771f1e","event_type":"forum.commands.read_answers","event_version":1,"occurred_at":"2026-11-29T07:27:18.681103Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7e99-7ad0-97da-3a83e9771f1e","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_name":"ann","actor_known_by":"token"},"payload":{}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"last_sequence":8,"body":{"read":{"thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","reader_type":"agent","reader_name":"ann","post_ids":["fevt-01a22633-7e84-74af-aca3-625363ce6a58.post"]}}}', 1, NULL, '2026-11-29T07:27:18.681103Z', '2026-11-29T07:27:18.681824Z', '2026-11-29T07:27:18.681824Z');
INSERT INTO forum_outbox VALUES (16, 'fevt-01a22633-7e99-7c58-bfbe-40ce8bd2a74b', 'event', 'forum.events.post.read', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', '{"sequence":8,"envelope":{"event_id":"fevt-01a22633-7e99-7c58-bfbe-40ce8bd2a74b","event_type":"forum.post.read","event_version":1,"occurred_at":"2026-11-29T07:27:18.681824Z","ticket":"M-1","actor_type":"system","correlation_id":"fcmd-01a22633-7e99-7ad0-97da-3a83e9771f1e","thread_id":"fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac","actor_known_by":"system","causation_id":"fcmd-01a22633-7e99-7ad0-97da-3a83e9771f1e"},"payload_json":"{\"post_id\":\"fevt-01a22633-7e84-74af-aca3-625363ce6a58.post\",\"reader_type\":\"agent\",\"reader_name\":\"ann\"}","payload":{"post_id":"fevt-01a22633-7e84-74af-aca3-625363ce6a58.post","reader_type":"agent","reader_name":"ann"}}', 8, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.681824Z', '2026-11-29T07:27:18.689815Z', '2026-11-29T07:27:18.689815Z');
INSERT INTO forum_outbox VALUES (17, 'fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1', 'command', 'forum.commands.signal', 'fctrl-run-1-ann', '{"envelope":{"event_id":"fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1","event_type":"forum.commands.signal","event_version":1,"occurred_at":"2026-11-29T07:27:18.688971Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1","thread_id":"fctrl-run-1-ann","run_id":"run-1","agent_name":"ann","actor_known_by":"token"},"payload":{"run_id":"run-1","ticket":"M-1","agent_name":"ann","payload":{"control_type":"guidance_request","question":"port?"}}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"last_sequence":11,"body":{"thread":{"thread_id":"fctrl-run-1-ann","ticket":"M-1","title":"Control thread of ann in run-1","state":"waiting_human","priority":"normal","opened_by_type":"agent","posts_count":2,"last_event_sequence":11,"version_sequence":11,"is_unanswered":true,"escalation_level":0,"opened_at":"2026-11-29T07:27:18.689867Z","updated_at":"2026-11-29T07:27:18.689867Z","run_id":"run-1","agent_name":"ann","last_post_at":"2026-11-29T07:27:18.689867Z","last_post_by_type":"agent","last_actor_type":"agent","waiting_since":"2026-11-29T07:27:18.689867Z","due_at":"2026-11-29T07:57:18.689867Z"}}}', 1, NULL, '2026-11-29T07:27:18.688971Z', '2026-11-29T07:27:18.689867Z', '2026-11-29T07:27:18.689867Z');
INSERT INTO forum_outbox VALUES (18, 'fevt-01a22633-7ea1-7712-a040-fffb8bd117aa', 'event', 'forum.events.thread.opened', 'fctrl-run-1-ann', '{"sequence":9,"envelope":{"event_id":"fevt-01a22633-7ea1-7712-a040-fffb8bd117aa","event_type":"forum.thread.opened","event_version":1,"occurred_at":"2026-11-29T07:27:18.689867Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1","thread_id":"fctrl-run-1-ann","run_id":"run-1","agent_name":"ann","actor_known_by":"token","causation_id":"fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1"},"payload_json":"{\"title\":\"Control thread of ann in run-1\",\"body\":\"Control signals of agent ann in run run-1.\",\"priority\":\"normal\"}","payload":{"title":"Control thread of ann in run-1","body":"Control signals of agent ann in run run-1.","priority":"normal"}}', 9, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.689867Z', '2026-11-29T07:27:18.700232Z', '2026-11-29T07:27:18.700232Z');
INSERT INTO forum_outbox VALUES (19, 'fevt-01a22633-7ea2-78f0-a8d9-ae4b6d4f3206', 'event', 'forum.events.control.signal', 'fctrl-run-1-ann', '{"sequence":10,"envelope":{"event_id":"fevt-01a22633-7ea2-78f0-a8d9-ae4b6d4f3206","event_type":"forum.control.signal","event_version":1,"occurred_at":"2026-11-29T07:27:18.689867Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1","thread_id":"fctrl-run-1-ann","run_id":"run-1","agent_name":"ann","actor_known_by":"token","causation_id":"fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1"},"payload_json":"{\"signal\":{\"schema_version\":1,\"run_id\":\"run-1\",\"agent_name\":\"ann\",\"control_type\":\"guidance_request\",\"question\":\"port?\"},\"post_id\":\"fevt-01a22633-7ea2-78f0-a8d9-ae4b6d4f3206.post\"}","payload":{"signal":{"schema_version":1,"run_id":"run-1","agent_name":"ann","control_type":"guidance_request","question":"port?"},"post_id":"fevt-01a22633-7ea2-78f0-a8d9-ae4b6d4f3206.post"}}', 10, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.689867Z', '2026-11-29T07:27:18.700232Z', '2026-11-29T07:27:18.700232Z');
INSERT INTO forum_outbox VALUES (20, 'fevt-01a22633-7ea2-74ab-852f-1b52e8b7ac8b', 'event', 'forum.events.state.changed', 'fctrl-run-1-ann', '{"sequence":11,"envelope":{"event_id":"fevt-01a22633-7ea2-74ab-852f-1b52e8b7ac8b","event_type":"forum.state.changed","event_version":1,"occurred_at":"2026-11-29T07:27:18.689867Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1","thread_id":"fctrl-run-1-ann","run_id":"run-1","agent_name":"ann","actor_known_by":"token","causation_id":"fcmd-01a22633-7ea0-7e92-9c6f-fec857826be1"},"payload_json":"{\"from_state\":\"new\",\"to_state\":\"waiting_human\",\"reason\":\"guidance requested\"}","payload":{"from_state":"new","to_state":"waiting_human","reason":"guidance requested"}}', 11, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.689867Z', '2026-11-29T07:27:18.700232Z', '2026-11-29T07:27:18.700232Z');
INSERT INTO forum_outbox VALUES (21, 'fcmd-01a22633-7ea8-7223-8c09-0a82397a3364', 'command', 'forum.commands.signal', 'fctrl-run-1-ann', '{"envelope":{"event_id":"fcmd-01a22633-7ea8-7223-8c09-0a82397a3364","event_type":"forum.commands.signal","event_version":1,"occurred_at":"2026-11-29T07:27:18.696585Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7ea8-7223-8c09-0a82397a3364","thread_id":"fctrl-run-1-ann","run_id":"run-1","agent_name":"ann","actor_known_by":"token"},"payload":{"run_id":"run-1","ticket":"M-1","agent_name":"ann","payload":{"control_type":"completion"}}}', NULL, 'done', 'applied', '{"kind":"applied","status":200,"last_sequence":12,"body":{"thread":{"thread_id":"fctrl-run-1-ann","ticket":"M-1","title":"Control thread of ann in run-1","state":"waiting_human","priority":"normal","opened_by_type":"agent","posts_count":3,"last_event_sequence":12,"version_sequence":12,"is_unanswered":true,"escalation_level":0,"opened_at":"2026-11-29T07:27:18.689867Z","updated_at":"2026-11-29T07:27:18.700656Z","run_id":"run-1","agent_name":"ann","last_post_at":"2026-11-29T07:27:18.700656Z","last_post_by_type":"agent","last_actor_type":"agent","waiting_since":"2026-11-29T07:27:18.689867Z","due_at":"2026-11-29T07:57:18.689867Z"}}}', 1, NULL, '2026-11-29T07:27:18.696585Z', '2026-11-29T07:27:18.700656Z', '2026-11-29T07:27:18.700656Z');
INSERT INTO forum_outbox VALUES (22, 'fevt-01a22633-7eac-7dba-8488-20a8897904f6', 'event', 'forum.events.control.signal', 'fctrl-run-1-ann', '{"sequence":12,"envelope":{"event_id":"fevt-01a22633-7eac-7dba-8488-20a8897904f6","event_type":"forum.control.signal","event_version":1,"occurred_at":"2026-11-29T07:27:18.700656Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-7ea8-7223-8c09-0a82397a3364","thread_id":"fctrl-run-1-ann","run_id":"run-1","agent_name":"ann","actor_known_by":"token","causation_id":"fcmd-01a22633-7ea8-7223-8c09-0a82397a3364"},"payload_json":"{\"signal\":{\"schema_version\":1,\"run_id\":\"run-1\",\"agent_name\":\"ann\",\"control_type\":\"completion\"},\"post_id\":\"fevt-01a22633-7eac-7dba-8488-20a8897904f6.post\"}","payload":{"signal":{"schema_version":1,"run_id":"run-1","agent_name":"ann","control_type":"completion"},"post_id":"fevt-01a22633-7eac-7dba-8488-20a8897904f6.post"}}', 12, 'done', NULL, NULL, 1, NULL, '2026-11-29T07:27:18.700656Z', '2026-11-29T07:27:18.708563Z', '2026-11-29T07:27:18.708563Z');
INSERT INTO forum_outbox VALUES (23, 'fcmd-01a22633-82e6-77f2-8d62-8e28ca245890', 'command', 'forum.commands.open_thread', 'fthr-01a22633-82e6-7225-ab98-8e7ea6cd1f53', '{"envelope":{"event_id":"fcmd-01a22633-82e6-77f2-8d62-8e28ca245890","event_type":"forum.commands.open_thread","event_version":1,"occurred_at":"2026-11-29T07:27:19.782298Z","ticket":"M-1","actor_type":"agent","correlation_id":"fcmd-01a22633-82e6-77f2-8d62-8e28ca245890","thread_id":"fthr-01a22633-82e6-7225-ab98-8e7ea6cd1f53","actor_name":"ann","actor_known_by":"token"},"payload":{"ticket":"M-1","title":"The last one","body":"not done yet"}}', NULL, 'pending', NULL, NULL, 0, NULL, '2026-11-29T07:27:19.782298Z', '2026-11-29T07:27:19.782298Z', NULL);
INSERT INTO idempotency_keys VALUES ('token /api/v1/forum/threads', 'first', X'6A0BAA10DCE18E44507210FC7A57FE2262239F565F85BD443C0C196361321E0A', 'fcmd-01a22633-7e64-761f-8650-b8f78a26abdf', '2026-11-29T07:27:18.629126Z');
INSERT INTO dead_letters VALUES (1, 'open', 'malformed', 'no uuid', NULL, 1, 'receive', 'metawsm-forum', 'forum.commands.add_post', '1-0', NULL, NULL, X'00FF', '2026-11-22T13:00:00.000000Z', '2026-11-22T13:00:00.000000Z', NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO forum_thread_reads VALUES ('human', 'kb', 'fthr-01a22633-7e65-76ac-bda2-17a862a8b7ac', 7, '2026-11-29T07:27:18.676473Z');
INSERT INTO forum_seen_ranges VALUES ('human', 'kb', '', 3, 7, 7);
INSERT INTO forum_seen_ranges VALUES ('human', 'kb', 'ticket:M-1', 3, 7, 7);
INSERT INTO projection_batches VALUES ('*', 1, 1, '2026-11-29T07:27:18.633229Z');
INSERT INTO projection_batches VALUES ('*', 2, 2, '2026-11-29T07:27:18.640776Z');
INSERT INTO projection_batches VALUES ('*', 3, 3, '2026-11-29T07:27:18.648618Z');
INSERT INTO projection_batches VALUES ('*', 4, 4, '2026-11-29T07:27:18.652767Z');
INSERT INTO projection_batches VALUES ('*', 5, 6, '2026-11-29T07:27:18.660550Z');
INSERT INTO projection_batches VALUES ('*', 7, 7, '2026-11-29T07:27:18.668752Z');
INSERT INTO projection_batches VALUES ('*', 8, 8, '2026-11-29T07:27:18.682134Z');
INSERT INTO projection_batches VALUES ('*', 9, 11, '2026-11-29T07:27:18.690362Z');
INSERT INTO projection_batches VALUES ('*', 12, 12, '2026-11-29T07:27:18.700864Z');
INSERT INTO projection_cursors VALUES ('agent_inbox', 0, 0, '2026-11-29T07:27:18.700864Z');
INSERT INTO projection_cursors VALUES ('search', 0, 0, '2026-11-29T07:27:18.700864Z');
INSERT INTO projection_cursors VALUES ('thread_stats', 0, 0, '2026-11-29T07:27:18.700864Z');
INSERT INTO projection_cursors VALUES ('thread_views', 0, 0, '2026-11-29T07:27:18.700864Z');
INSERT INTO forum_post_receipts VALUES ('fevt-01a22633-7e84-74af-aca3-625363ce6a58.post', 'agent', 'ann', NULL, NULL, '2026-11-29T07:27:18.681824Z');
INSERT INTO subscriber_cursors VALUES ('close_control_threads', 12, '2026-11-29T07:27:19.771075Z');
INSERT INTO subscriber_cursors VALUES ('deliver_answers', 12, '2026-11-29T07:27:18.704329Z');
INSERT INTO subscriber_cursors VALUES ('run_signals', 12, '2026-11-29T07:27:18.704284Z');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES ('forum_events', 12);
INSERT INTO sqlite_sequence VALUES ('forum_outbox', 23);
INSERT INTO sqlite_sequence VALUES ('dead_letters', 1);
INSERT INTO sqlite_sequence VALUES ('jobs', 0);
COMMIT;
