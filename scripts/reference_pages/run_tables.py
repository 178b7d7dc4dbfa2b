"""What the tables of runs and their columns mean, in words."""

from __future__ import annotations

from metawsm.domain.run_states import AGENT_STATES, RUN_STATES, STEP_STATES

_SINCE = "since when it is in that state"
RUN_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "runs": ("Every run as the newest handled command left it", {
        "created_sequence": "newest event of the commit that made it: it orders runs by age", "run_id": "its identity",
        "mode": "run, or bootstrap: with a brief", "state": ", ".join(RUN_STATES), "state_since": _SINCE,
        "reason": "why it is in that state", "round": "counts from 1; restart and iterate begin a new one",
        "repos_json": "JSON list of the repositories' names",
        "doc_home_repo": "the repository that holds the tickets' documents",
        "base": "the branch work starts from and is merged into", "strategy": "create, fork, reuse",
        "seeded": "1: documents are copied from the main checkout at the start",
        "workspaces_json": "JSON list: name, ticket, branch and folder of each workspace",
        "repositories_json": "JSON object: the main checkout of each repository, once it was found",
        "action_from": "the first step of the newest action", "created_by_type": "actor type of who asked for it",
        "created_by_name": "their name",
    }),
    "run_tickets": ("The tickets of each run", {
        "position": "0 is the first", "ticket": "the ticket", "run_id": "the run",
        "created_sequence": "as in `runs`",
    }),
    "run_briefs": ("The brief of each bootstrap run", {
        "run_id": "the run", "goal": "what is to be reached", "scope": "what belongs to it and what does not",
        "done_criteria": "what must hold at the end", "constraints": "what must not happen",
        "merge_intent": "how the work is to be merged",
    }),
    "steps": ("The steps of each run, those of all its actions", {
        "run_id": "the run", "step_index": "counts from 1 over all actions",
        "action": "start, resume, restart, iterate, stop, merge, close, cleanup",
        "kind": "the kind of job that does it", "name": "for people",
        "args_json": "what the job needs", "state": ", ".join(STEP_STATES),
        "attempts": "how often its job was tried", "error": "why it failed", "result_json": "what it found",
        "started_at": "when its job was added", "ended_at": "when its end was recorded",
    }),
    "agents": ("The agents of each run", {
        "run_id": "the run", "position": "0 is the first", "agent_name": "unique in the run",
        "profile": "its profile in the policy", "ticket": "its ticket", "workspace": "where it works",
        "session": "its tmux session", "state": ", ".join(AGENT_STATES), "state_since": _SINCE,
        "reason": "why it is in that state", "exit_code": "of its program, where it has ended and is known",
        "control_thread": "the thread of its signals", "open_requests": "guidance requests without an answer",
        "completed": "1: it has reported completion in this round",
        "validation": "passed, failed: what it reported in this round", "done_criteria": "which criteria it validated",
        "round_sequence": "the event that began its newest round",
        "restarts": "automatic restarts in a row", "restarted_at": "the newest of them",
        "folder": "where its newest session keeps its prompt and its status file",
    }),
    "doc_sync_states": ("Copies of ticket documents into workspaces", {
        "run_id": "the run", "ticket": "the ticket", "workspace": "the workspace",
        "status": "pending, synced, failed", "revision": "of the copy", "error": "why it failed",
    }),
    "agent_measures": ("The newest look at each agent's session", {
        "run_id": "the run", "agent_name": "the agent", "last_activity_at": "when its terminal last changed",
        "last_progress_at": "when its work last moved", "measured_at": "when it was looked at",
    }),
    "checkout_measures": ("The newest look at each checkout of a run", {
        "run_id": "the run", "workspace": "the workspace", "repo": "the repository",
        "files_json": "JSON list of the first uncommitted files", "more": "how many more there are",
        "error": "why it could not be looked at", "last_change_at": "when work there last moved",
        "measured_at": "when it was looked at", "ahead": "commits of the run's branch that its base has not",
    }),
    "jobs": ("Long effects on the outside: those that wait, those at work, and for 7 days those that have ended", {
        "id": "place in the order of creation", "kind": "what is done", "job_key": "its natural identity",
        "lane": "jobs of one lane run one by one", "run_id": "the run it is for", "payload_json": "what it needs",
        "epoch": "the life of the database it was made in; those of before a restore are held",
        "status": "pending, running, held, done, failed", "attempt": "how often it was begun",
        "not_before": "when it may begin", "boot": "the process that began it", "error": "the newest failure",
        "created_at": "when it was added",
    }),
}  # fmt: skip
RUN_INTERNAL: dict[str, str] = {"subscriber_cursors": "how far each reaction to events is"}
