"""JSON Schemas of the answers about runs."""

from __future__ import annotations

from metawsm.api.schemas import (
    ACTOR,
    ANYTHING,
    COUNT,
    FLAG,
    SEQUENCE,
    TEXT,
    TIME,
    Schema,
    array,
    obj,
    of_class,
    ref,
)
from metawsm.domain.run_events import Brief, Workspace
from metawsm.domain.run_states import AGENT_STATES, RUN_STATES, STEP_STATES

RUN_STATE: Schema = {"type": "string", "enum": list(RUN_STATES)}
AGENT = obj(
    {
        "name": TEXT, "profile": TEXT, "ticket": TEXT, "workspace": TEXT, "session": TEXT,
        "state": {"type": "string", "enum": list(AGENT_STATES)}, "state_since": TIME, "open_requests": COUNT,
        "completed": FLAG, "round_sequence": SEQUENCE, "restarts": COUNT,
    },
    {
        "reason": TEXT, "exit_code": {"type": "integer"}, "control_thread": TEXT, "validation": TEXT,
        "done_criteria": TEXT, "restarted_at": TIME, "folder": TEXT, "last_activity_at": TIME, "last_progress_at": TIME,
        "unread_answers": COUNT,
    },
    "An agent of a run: one tmux session in one workspace. `unread_answers` is told where one run is shown",
)  # fmt: skip
STEP = obj(
    {
        "index": COUNT, "action": TEXT, "kind": TEXT, "name": TEXT,
        "state": {"type": "string", "enum": list(STEP_STATES)}, "attempts": COUNT,
    },
    {"error": TEXT, "result": ANYTHING, "started_at": TIME, "ended_at": TIME},
    "A step of a run's plan",
)  # fmt: skip
RUN = obj(
    {
        "run_id": TEXT, "mode": {"type": "string", "enum": ["run", "bootstrap"]}, "state": RUN_STATE,
        "state_since": TIME, "round": COUNT, "tickets": array(TEXT), "repos": array(TEXT), "doc_home_repo": TEXT,
        "base": TEXT, "strategy": TEXT, "workspaces": array(of_class(Workspace)), "agents": array(ref("RunAgent")),
        "steps": array(ref("RunStep")), "created_at": TIME, "created_by_type": ACTOR, "updated_at": TIME,
        "last_event_sequence": SEQUENCE, "next": array(TEXT),
    },
    {"reason": TEXT, "brief": of_class(Brief), "created_by_name": TEXT},
    "A run. `next` are the commands that lead on from here.",
)  # fmt: skip
SUMMARY = obj(
    {
        "run_id": TEXT, "mode": TEXT, "state": RUN_STATE, "state_since": TIME, "round": COUNT, "created_at": TIME,
        "updated_at": TIME, "tickets": array(TEXT), "agents_count": COUNT, "open_requests": COUNT,
    },
    {"reason": TEXT},
)  # fmt: skip
CHECKOUT = obj(
    {"workspace": TEXT, "repo": TEXT, "files": array(TEXT), "more": COUNT, "measured_at": TIME},
    {"error": TEXT, "last_change_at": TIME, "ahead": COUNT},
    "What differs from the last commit in a checkout, as it was last looked at. `ahead` are the commits of the run's"
    " branch that its base has not.",
)
SYNC = obj({"ticket": TEXT, "workspace": TEXT, "status": TEXT, "updated_at": TIME}, {"revision": TEXT, "error": TEXT})
GUIDANCE = obj(
    {"agent": TEXT, "thread_id": TEXT, "post_id": TEXT, "question": TEXT}, {"asked_at": TIME}, "An open request"
)
FORUM = obj(
    {"states": {"type": "object", "additionalProperties": COUNT}, "sla": ANYTHING, "threads": array(ref("View"))},
    about="The run's threads: how many there are in each state, and the most pressing ones",
)
DECISION = obj(
    {
        "action": {"type": "string", "enum": ["nothing", "answer_guidance", "restart", "stop", "ask_human"]},
        "reason": TEXT,
        "agents": array(TEXT),
    },
    about="What the operator rules say is to be done about the run now",
)
DETAIL = {
    "allOf": [
        ref("Run"),
        obj(
            {
                "checkouts": array(CHECKOUT),
                "warnings": array(TEXT),
                "docs": array(SYNC),
                "guidance": array(GUIDANCE),
                "forum": FORUM,
                "operator": DECISION,
            }
        ),
    ]
}
PLAN = obj({"name": TEXT, "kind": TEXT, "args": ANYTHING}, about="A step that a dry run would take")

RUN_ANSWERS: dict[str, Schema] = {
    "RunAgent": AGENT,
    "RunStep": STEP,
    "Run": RUN,
    "RunDetail": DETAIL,
    "RunAnswer": obj({"run": ref("Run")}, {"plan": array(PLAN)}),
    "RunPage": obj({"runs": array(SUMMARY)}, {"next_cursor": TEXT}),
    "RunDetailAnswer": obj({"run": ref("RunDetail")}),
    "ReleaseAnswer": obj({"released": COUNT}),
}
