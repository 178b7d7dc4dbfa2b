"""A database as the Go program leaves it, for tests of the import.

Tables, columns, states of the outbox, forms of ids, times and payloads are those of the public repository kball/metawsm
at commit e45616dc7ebcbd6bf947f6cf30f3efc18cd16cf8 (internal/store, internal/model, internal/orchestrator).
"""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

START = datetime(2026, 2, 3, 9, 0, tzinfo=timezone(timedelta(hours=1)))
_ID = 1_770_105_600_000_000_000  # nanoseconds: the form of their ids

T, E, N = "TEXT NOT NULL", "TEXT NOT NULL DEFAULT ''", "INTEGER NOT NULL DEFAULT 0"
AUTO = "INTEGER PRIMARY KEY AUTOINCREMENT"
VIEW = (
    f"thread_id TEXT PRIMARY KEY, ticket {T}, run_id {E}, agent_name {E}, title {T}, state {T}, priority {T},"
    f" assignee_type {E}, assignee_name {E}, opened_by_type {T}, opened_by_name {E}"
)
TABLES = {
    "schema_migrations": f"version INTEGER PRIMARY KEY, applied_at {T}",
    "runs": f"run_id TEXT PRIMARY KEY, status {T}, created_at {T}, updated_at {T}, spec_json {T}, policy_json {T},"
    f" error_text {E}",
    "run_tickets": f"run_id {T}, ticket {T}, PRIMARY KEY (run_id, ticket)",
    "steps": f"run_id {T}, step_index INTEGER NOT NULL, name {T}, kind {T}, command_text {T},"
    f" blocking INTEGER NOT NULL, ticket {E}, workspace_name {E}, agent_name {E}, status {T}, error_text {E},"
    f" started_at {E}, finished_at {E}, PRIMARY KEY (run_id, step_index)",
    "agents": f"run_id {T}, agent_name {T}, workspace_name {T}, session_name {T}, status {T}, health_state {T},"
    f" last_activity_at {E}, last_progress_at {E}, PRIMARY KEY (run_id, agent_name, workspace_name)",
    "events": f"id {AUTO}, run_id {T}, entity_type {T}, entity_id {T}, event_type {T}, from_state {E}, to_state {E},"
    f" message {E}, created_at {T}",
    "run_briefs": f"run_id TEXT PRIMARY KEY, ticket {T}, goal {T}, scope {T}, done_criteria {T}, constraints_text {T},"
    f" merge_intent {T}, qa_json {T}, created_at {T}, updated_at {T}",
    "guidance_requests": f"id {AUTO}, run_id {T}, workspace_name {T}, agent_name {T}, question {T}, context_text {E},"
    f" answer_text {E}, status {T}, created_at {T}, answered_at {E}",
    "forum_threads": f"{VIEW}, opened_at {T}, updated_at {T}, closed_at {E}",
    "forum_posts": f"post_id TEXT PRIMARY KEY, thread_id {T}, event_id {T} UNIQUE, author_type {T}, author_name {E},"
    f" body_text {T}, created_at {T}",
    "forum_assignments": f"id {AUTO}, thread_id {T}, event_id {T} UNIQUE, from_assignee_type {E},"
    f" from_assignee_name {E}, to_assignee_type {E}, to_assignee_name {E}, changed_by_type {T}, changed_by_name {E},"
    f" changed_at {T}",
    "forum_state_transitions": f"id {AUTO}, thread_id {T}, event_id {T} UNIQUE, from_state {E}, to_state {T},"
    f" changed_by_type {T}, changed_by_name {E}, changed_at {T}",
    "forum_events": f"sequence {AUTO}, event_id {T} UNIQUE, event_type {T}, event_version INTEGER NOT NULL,"
    f" occurred_at {T}, thread_id {T}, run_id {E}, ticket {T}, agent_name {E}, actor_type {T}, actor_name {E},"
    f" correlation_id {E}, causation_id {E}, payload_json {E}",
    "forum_thread_views": f"{VIEW}, posts_count {N}, last_post_at {E}, last_post_by_type {E}, last_post_by_name {E},"
    f" opened_at {T}, updated_at {T}, closed_at {E}",
    "forum_thread_reads": f"thread_id {T}, viewer_type {T}, viewer_id {T}, last_seen_event_sequence {N},"
    f" updated_at {T}, PRIMARY KEY (thread_id, viewer_type, viewer_id)",
    "forum_thread_queue_view": f"thread_id TEXT PRIMARY KEY, ticket {T}, run_id {E}, state {T}, priority {T},"
    f" assignee_name {E}, last_event_sequence {N}, last_actor_type {E}, last_non_system_actor_type {E},"
    f" last_human_or_operator_sequence {N}, last_agent_sequence {N}, updated_at {T}",
    "forum_thread_stats": f"ticket {T}, run_id {E}, state {T}, priority {T}, thread_count {N}, updated_at {T},"
    " PRIMARY KEY (ticket, run_id, state, priority)",
    "forum_projection_events": f"projection_name {T}, event_id {T}, applied_at {T},"
    " PRIMARY KEY (projection_name, event_id)",
    "forum_control_threads": f"run_id {T}, agent_name {T}, ticket {T}, thread_id {T} UNIQUE, created_at {T},"
    f" updated_at {T}, PRIMARY KEY (run_id, agent_name)",
    "forum_outbox": f"id {AUTO}, message_id {T} UNIQUE, topic {T}, message_key {E}, payload_json {T}, status {T},"
    f" attempt_count {N}, last_error {E}, created_at {T}, updated_at {T}, sent_at {E}",
    "doc_sync_states": f"run_id {T}, ticket {T}, workspace_name {T}, doc_home_repo {E}, doc_authority_mode {E},"
    f" doc_seed_mode {E}, status {T}, revision {E}, error_text {E}, updated_at {T},"
    " PRIMARY KEY (run_id, ticket, workspace_name)",
    "operator_run_states": f"run_id TEXT PRIMARY KEY, restart_attempts {N}, last_restart_at {E}, cooldown_until {E},"
    f" updated_at {T}",
    "run_pull_requests": f"run_id {T}, ticket {T}, repo {T}, workspace_name {E}, head_branch {E}, base_branch {E},"
    f" remote_name {E}, commit_sha {E}, pr_number {N}, pr_url {E}, pr_state {E}, credential_mode {E}, actor {E},"
    f" validation_json {E}, error_text {E}, created_at {T}, updated_at {T}, PRIMARY KEY (run_id, ticket, repo)",
    "run_review_feedback": f"run_id {T}, ticket {T}, repo {T}, workspace_name {E}, pr_number {N}, pr_url {E},"
    f" source_type {T}, source_id {T}, source_url {E}, author {E}, body_text {E}, file_path {E}, line_number {N},"
    f" status {E}, error_text {E}, created_at {T}, updated_at {T}, last_seen_at {T}, addressed_at {E},"
    " PRIMARY KEY (run_id, ticket, repo, pr_number, source_type, source_id)",
}
INDEXES = {
    "idx_forum_threads_ticket_state_priority": "forum_threads (ticket, state, priority)",
    "idx_forum_posts_thread_created": "forum_posts (thread_id, created_at)",
    "idx_forum_events_ticket_sequence": "forum_events (ticket, sequence)",
    "idx_forum_thread_views_ticket_filters": "forum_thread_views (ticket, state, priority, updated_at)",
    "idx_forum_thread_reads_viewer": "forum_thread_reads (viewer_type, viewer_id, updated_at)",
    "idx_forum_thread_queue_view_filters": "forum_thread_queue_view"
    " (ticket, run_id, state, priority, last_event_sequence DESC)",
    "idx_forum_outbox_status_created": "forum_outbox (status, created_at, id)",
    "idx_run_review_feedback_run_status": "run_review_feedback (run_id, status)",
}


class GoDatabase:
    """Writes a database as the Go program does: state tables, events and outbox rows of each deed together."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        for name, columns in TABLES.items():
            self.db.execute(f"CREATE TABLE {name} ({columns})")
        for name, where in INDEXES.items():
            self.db.execute(f"CREATE INDEX {name} ON {where}")
        self._ids = _ID
        self._seconds = 0

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        return {name: self.db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES}

    def insert(self, table: str, **values: Any) -> int:
        """A row; what is not given has its default, and required texts without one are empty."""
        columns = [row[1] for row in self.db.execute(f"PRAGMA table_info({table})") if row[3] and row[4] is None]
        values = dict.fromkeys((name for name in columns if name not in values), "") | values
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        return int(
            self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [*values.values()]).lastrowid or 0
        )

    def now(self) -> str:
        """The next moment, as they write it: local, with an offset, to the second."""
        self._seconds += 1
        return (START + timedelta(seconds=self._seconds)).isoformat()

    def new_id(self, prefix: str) -> str:
        """An id of theirs."""
        self._ids += 1_000_003
        return f"{prefix}-{self._ids}"

    def open(self, ticket: str = "METAWSM-002", title: str = "Which schema?", body: str = "v1 or v2?", *,
             run: str = "", agent: str = "", priority: str = "normal", actor: str = "agent", name: str = "ann",
             thread_id: str = "") -> str:  # fmt: skip
        """Ask; the thread's id."""
        thread_id, at = thread_id or self.new_id("fthr"), self.now()
        about = {"thread_id": thread_id, "ticket": ticket, "run_id": run, "agent_name": agent}
        payload = {"body": body, "priority": priority, "title": title}
        view = about | {"title": title, "state": "new", "priority": priority, "opened_at": at, "updated_at": at,
                        "opened_by_type": actor, "opened_by_name": name}  # fmt: skip
        self.insert("forum_threads", **view)
        self.insert("forum_thread_views", **view, posts_count=1)
        self._post(self.event("forum.thread.opened", about, payload, actor, name, at), thread_id, body, actor, name, at)
        return thread_id

    def post(self, thread_id: str, body: str, actor: str = "agent", name: str = "ann",
             event_type: str = "forum.post.added") -> str:  # fmt: skip
        """Write on a thread; the event's id."""
        at = self.now()
        event_id = self.event(event_type, self.about(thread_id), {"body": body}, actor, name, at)
        self._post(event_id, thread_id, body, actor, name, at)
        return event_id

    def _post(self, event_id: str, thread_id: str, body: str, actor: str, name: str, at: str) -> None:
        self.insert("forum_posts", post_id=f"{event_id}.post", thread_id=thread_id, event_id=event_id,
                    author_type=actor, author_name=name, body_text=body, created_at=at)  # fmt: skip

    def answer(self, thread_id: str, body: str, actor: str = "human", name: str = "kb") -> None:
        """A post, the state `answered` that it causes, and the wish to sync the docs."""
        event_id = self.post(thread_id, body, actor, name)
        self.state(thread_id, "answered", actor, name, causation=event_id)
        self._docs_sync(thread_id, "answered", actor)

    def state(self, thread_id: str, to_state: str, actor: str = "operator", name: str = "op", *, causation: str = "",
              event_type: str = "forum.state.changed") -> None:  # fmt: skip
        """Move to another state."""
        at, about = self.now(), self.about(thread_id)
        before = self.db.execute("SELECT state FROM forum_threads WHERE thread_id = ?", (thread_id,)).fetchone()[0]
        payload = {"from_state": before, "to_state": to_state}
        event_id = self.event(event_type, about, payload, actor, name, at, causation)
        self.insert("forum_state_transitions", thread_id=thread_id, event_id=event_id, **payload, changed_by_type=actor,
                    changed_by_name=name, changed_at=at)  # fmt: skip
        self._set(thread_id, state=to_state, updated_at=at, closed_at=at if to_state == "closed" else "")

    def close_thread(self, thread_id: str) -> None:
        """Close it, with the wish to sync the docs."""
        self.state(thread_id, "closed", event_type="forum.thread.closed")
        self._docs_sync(thread_id, "closed", "operator")

    def assign(self, thread_id: str, assignee: str, note: str = "") -> None:
        """Give it to an operator."""
        at, about = self.now(), self.about(thread_id)
        ends = {"from_assignee_type": "", "from_assignee_name": "", "to_assignee_type": "operator",
                "to_assignee_name": assignee}  # fmt: skip
        event_id = self.event("forum.assigned", about, ends | {"note": note}, "operator", "op", at)
        self.insert("forum_assignments", thread_id=thread_id, event_id=event_id, **ends, changed_by_type="operator",
                    changed_by_name="op", changed_at=at)  # fmt: skip
        self._set(thread_id, assignee_type="operator", assignee_name=assignee, updated_at=at)

    def priority(self, thread_id: str, priority: str) -> None:
        """Make it more or less pressing."""
        payload = {"from_priority": "normal", "to_priority": priority}
        self.event("forum.priority.changed", self.about(thread_id), payload, "operator", "op", self.now())
        self._set(thread_id, priority=priority)

    def control(self, run: str, agent: str, ticket: str = "METAWSM-002") -> str:
        """Open the control thread of (run, agent)."""
        thread_id = self.open(ticket, f"Control of {agent}", "signals", run=run, agent=agent, actor="system",
                              name="metawsm", thread_id=f"fctrl-{run}-{agent}".lower())  # fmt: skip
        self.insert("forum_control_threads", run_id=run, agent_name=agent, ticket=ticket, thread_id=thread_id)
        return thread_id

    def signal(self, run: str, agent: str, kind: str, actor: str = "agent", **members: str) -> str:
        """A control signal: JSON text in the body of a post; the event's id."""
        payload = {"schema_version": 1, "control_type": kind, "run_id": run, "agent_name": agent, **members}
        thread_id = f"fctrl-{run}-{agent}".lower()
        return self.post(thread_id, json.dumps(payload), actor, agent, "forum.control.signal")

    def see(self, thread_id: str, viewer: str, sequence: int, viewer_type: str = "human") -> None:
        """A viewer has seen a thread."""
        self.insert("forum_thread_reads", thread_id=thread_id, viewer_type=viewer_type, viewer_id=viewer,
                    last_seen_event_sequence=sequence, updated_at=self.now())  # fmt: skip

    def message(self, topic: str, envelope: dict[str, str], status: str, **members: Any) -> str:
        """A row of the outbox; its message id."""
        at, message_id = self.now(), self.new_id("fmsg")
        self.insert("forum_outbox", message_id=message_id, topic=topic, message_key=envelope.get("thread_id", ""),
                    payload_json=json.dumps({"envelope": envelope} | members), status=status, created_at=at,
                    updated_at=at)  # fmt: skip
        return message_id

    def about(self, thread_id: str) -> dict[str, str]:
        """What the events of a thread repeat."""
        columns = ("thread_id", "ticket", "run_id", "agent_name")
        sql = f"SELECT {', '.join(columns)} FROM forum_threads WHERE thread_id = ?"
        return dict(zip(columns, self.db.execute(sql, (thread_id,)).fetchone(), strict=True))

    def event(self, event_type: str, about: dict[str, str], payload: Any, actor: str, name: str, at: str,
              causation: str = "") -> str:  # fmt: skip
        """An event; its id."""
        event_id = self.new_id("fevt")
        text = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"), sort_keys=True)
        self.insert("forum_events", event_id=event_id, event_type=event_type, event_version=1, occurred_at=at, **about,
                    actor_type=actor, actor_name=name, correlation_id=event_id, causation_id=causation,
                    payload_json=text)  # fmt: skip
        return event_id

    def _docs_sync(self, thread_id: str, trigger: str, actor: str) -> None:
        payload = {"trigger": trigger, "thread_id": thread_id, "title": "", "posts_count": 2}
        wish = "forum.integration.docs_sync.requested"
        self.event(wish, self.about(thread_id), payload, actor, "", self.now())

    def _set(self, thread_id: str, **values: str) -> None:
        changes = ", ".join(f"{name} = ?" for name in values)
        for table in ("forum_threads", "forum_thread_views"):
            self.db.execute(f"UPDATE {table} SET {changes} WHERE thread_id = ?", [*values.values(), thread_id])


def small(path: Path) -> GoDatabase:
    """Every kind of row: threads in all states, signals, readers, runs, and an outbox with each status."""
    there = GoDatabase(path)
    asked = there.open(title="Wh\u00e9re to \u201cbegin\u201d?", body="<b>zebra</b> & more\nline two")
    there.answer(asked, "At the beginning")
    closed = there.open(run="run-1", agent="ann", priority="urgent", actor="human", name="kb")
    there.assign(closed, "op", "please look")
    there.priority(closed, "high")
    there.post(closed, "still open?", "human", "kb")
    there.state(closed, "waiting_human")
    there.close_thread(closed)
    waiting = there.open("OTHER-1", "Third", "a quokka")
    for state in ("triaged", "waiting_operator"):
        there.state(waiting, state)
    there.control("run-1", "ann")
    there.signal("run-1", "ann", "guidance_request", question="Which port?")
    there.signal("run-1", "ann", "guidance_answer", "operator", answer="3001")
    there.signal("run-1", "ann", "guidance_request", question="And the host?")
    there.signal("run-1", "ann", "validation", status="passed", done_criteria="tests pass")
    there.see(asked, "kb", 2)
    there.see(closed, "kb", 999)
    there.see(closed, "bot", 1, "agent")
    _fill_outbox(there, closed)
    _fill_runs(there)
    return there


def _fill_outbox(there: GoDatabase, thread_id: str) -> None:
    applied = there.db.execute("SELECT event_id FROM forum_events ORDER BY sequence").fetchall()
    for status, (event_id,) in zip(("pending", "processing", "sent", "failed"), applied, strict=False):
        there.message("forum.commands.add_post", {"event_id": event_id, "thread_id": thread_id}, status)
    for status in ("pending", "processing", "sent", "failed"):
        envelope = {"event_id": there.new_id("fevt"), "thread_id": thread_id}
        there.message("forum.commands.add_post", envelope, status, body=f"never applied, {status}")


def _fill_runs(there: GoDatabase) -> None:
    there.insert("runs", run_id="run-1", status="running")
    there.insert("run_tickets", run_id="run-1", ticket="METAWSM-002")
    there.insert("steps", run_id="run-1", step_index=1, blocking=1)
    there.insert("agents", run_id="run-1", agent_name="ann")
    there.insert("run_briefs", run_id="run-1")
    there.insert("doc_sync_states", run_id="run-1", ticket="METAWSM-002")


def large(path: Path, threads: int) -> GoDatabase:
    """Many threads of four events each (one is a wish to sync the docs), each seen by one viewer."""
    there = GoDatabase(path)
    there.db.execute("BEGIN")
    for number in range(threads):
        thread_id = there.open(f"T-{number % 7}", f"Question {number}", f"body {number}", run=f"run-{number % 3}")
        there.answer(thread_id, f"answer {number}")
        there.see(thread_id, "kb", 4 * number + 3)
    there.db.execute("COMMIT")
    return there
