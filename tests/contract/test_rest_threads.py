"""Every row of the REST table: what it takes, its status, the object it answers with (contract, section 5)."""

from __future__ import annotations

import pytest

from tests.support.rest import Rest

OPENED = {
    "thread_id", "ticket", "title", "state", "priority", "opened_by_type", "posts_count", "last_event_sequence",
    "version_sequence", "is_unanswered", "escalation_level", "opened_at", "updated_at", "last_post_at",
    "last_post_by_type", "last_actor_type", "waiting_since", "due_at",
}  # fmt: skip


def test_a_question_becomes_a_thread(rest: Rest) -> None:
    """POST /forum/threads answers 201 with the view, without the optional values that are empty."""
    view = rest.open(title="Which schema?")
    assert set(view) == OPENED
    assert (view["state"], view["priority"], view["posts_count"]) == ("new", "normal", 1)
    assert view["thread_id"].startswith("fthr-")


def test_every_field_of_a_question_is_kept(rest: Rest) -> None:
    """Run, agent, priority, the chosen id, the name of the actor, options and correlation come back."""
    ticket = rest.ticket()
    view = rest.open(
        ticket=ticket, run_id="run-7", agent_name="bob", priority="urgent", thread_id=f"fthr-own-{ticket.lower()}",
        actor_name="bob", options=["v1", "v2"], correlation_id="c-1", causation_id="m-1",
    )  # fmt: skip
    wanted = {"run_id": "run-7", "agent_name": "bob", "priority": "urgent", "opened_by_name": "bob"}
    assert view.items() >= wanted.items()
    event = rest.events(view["thread_id"])[0]
    assert event["payload"]["options"] == ["v1", "v2"]
    assert event["envelope"]["correlation_id"] == "c-1"
    assert event["envelope"]["causation_id"].startswith("fcmd-")


def test_a_thread_with_posts_and_events(rest: Rest) -> None:
    """GET /forum/threads/{id} answers {thread, posts, events}; the opening body is post 1 of the opening event."""
    thread = rest.open(body="v1 or v2?")
    rest.done(thread["thread_id"], "posts", body="Looking into it", actor_name="kb")
    detail = rest.send("GET", f"/forum/threads/{thread['thread_id']}").body
    assert set(detail) == {"thread", "posts", "events"}
    assert [(post["body"], post["kind"]) for post in detail["posts"]] == [
        ("v1 or v2?", "post"),
        ("Looking into it", "post"),
    ]
    opened = detail["events"][0]["envelope"]["event_id"]
    assert detail["posts"][0]["post_id"] == f"{opened}.post"
    assert detail["thread"]["posts_count"] == 2


def test_the_newest_posts_are_never_cut_off(rest: Rest) -> None:
    """With a limit the newest posts come, and `posts_before` leads to the older ones, each once."""
    thread = rest.open(body="0")["thread_id"]
    for number in range(1, 6):
        rest.done(thread, "posts", body=str(number))
    seen: list[str] = []
    path = f"/forum/threads/{thread}?limit=2"
    while path:
        page = rest.send("GET", path).body
        seen = [post["body"] for post in page["posts"]] + seen
        before = page.get("posts_before")
        path = f"/forum/threads/{thread}?limit=2&posts_before={before}" if before else ""
    assert seen == list("012345")


def test_an_answer_is_post_and_state_in_one(rest: Rest) -> None:
    """POST .../answer adds the post, then sets `answered`: two events of one correlation, in this order."""
    thread = rest.open(correlation_id="c-9")["thread_id"]
    view = rest.done(thread, "answer", body="v2", actor_name="kb")
    assert (view["state"], view["posts_count"], view["is_unanswered"]) == ("answered", 2, False)
    assert "waiting_since" not in view and "due_at" not in view
    assert rest.types(thread) == ["thread.opened", "post.added", "state.changed"]
    post, state = rest.events(thread)[1:]
    assert post["payload"]["kind"] == "answer"
    assert post["payload"]["post_id"] == f"{post['envelope']['event_id']}.post"
    assert (state["payload"]["from_state"], state["payload"]["to_state"]) == ("new", "answered")
    assert post["envelope"]["causation_id"] == state["envelope"]["causation_id"]


def test_a_post_of_kind_answer_is_an_answer(rest: Rest) -> None:
    """POST .../posts with kind `answer` does what the answer action does."""
    thread = rest.open()["thread_id"]
    assert rest.done(thread, "posts", body="v2", kind="answer")["state"] == "answered"


def test_assigning_and_unassigning(rest: Rest) -> None:
    """POST .../assign names the assignee; an empty name takes it away; the note is in the event."""
    thread = rest.open()["thread_id"]
    view = rest.done(thread, "assign", assignee_type="human", assignee_name="kb", assignment_note="yours")
    assert (view["assignee_type"], view["assignee_name"]) == ("human", "kb")
    view = rest.done(thread, "assign", assignee_type="human", assignee_name="")
    assert "assignee_type" not in view and "assignee_name" not in view
    first, second = rest.events(thread)[1:]
    assert first["payload"] == {"from_assignee_type": "", "from_assignee_name": "", "to_assignee_type": "human",
                                "to_assignee_name": "kb", "note": "yours"}  # fmt: skip
    assert second["payload"]["to_assignee_name"] == ""


def test_priority_and_close(rest: Rest) -> None:
    """POST .../priority and .../close answer with the view; closing is one event, `forum.thread.closed`, alone."""
    thread = rest.open()["thread_id"]
    assert rest.done(thread, "priority", priority="high")["priority"] == "high"
    view = rest.done(thread, "close", reason="decided")
    assert view["state"] == "closed" and view["closed_at"]
    assert rest.types(thread) == ["thread.opened", "priority.changed", "thread.closed"]
    assert rest.events(thread)[-1]["payload"] == {"from_state": "new", "reason": "decided"}


def test_seen_is_clamped(rest: Rest) -> None:
    """POST .../seen answers {seen}; a sequence beyond the thread's last is that last; `is_unseen` follows."""
    thread = rest.open()
    viewer = {"viewer_type": "human", "viewer_id": "kb"}
    listed = f"/forum/threads?ticket={thread['ticket']}&viewer_type=human&viewer_id=kb"
    assert rest.send("GET", listed).body["threads"][0]["is_unseen"] is True
    seen = rest.act(thread["thread_id"], "seen", **viewer, last_seen_event_sequence=10**9).body["seen"]
    assert (
        seen == {"thread_id": thread["thread_id"], "last_seen_event_sequence": thread["last_event_sequence"]} | viewer
    )
    assert rest.send("GET", listed).body["threads"][0]["is_unseen"] is False
    assert rest.act(thread["thread_id"], "seen", **viewer).body["seen"] == seen


def test_the_viewer_is_the_actor(rest: Rest) -> None:
    """Who marks a thread as seen is the viewer, unless another actor is named; an agent marks nobody else's."""
    thread = rest.open()["thread_id"]
    path, human = f"/forum/threads/{thread}/seen", {"viewer_type": "human", "viewer_id": "kb"}
    assert rest.send("POST", path, human).status == 200
    assert rest.send("POST", path, human, anonymous=True).status == 403
    assert rest.send("POST", path, human | {"actor_type": "agent"}).status == 403
    assert rest.send("POST", path, {"viewer_type": "agent", "viewer_id": "bob"}, anonymous=True).status == 200
    assert rest.send("POST", path, {"viewer_id": "kb"}).error["fields"].keys() == {"actor_type", "viewer_type"}


FILTERS = ("ticket", "run_id", "state", "priority", "assignee")


@pytest.mark.parametrize("name", FILTERS)
def test_lists_are_filtered(rest: Rest, name: str) -> None:
    """GET /forum/threads gives the threads that match a filter, and no others."""
    ticket = rest.ticket()
    mine = rest.open(ticket=ticket, run_id=f"run-{ticket}", priority="high")["thread_id"]
    other = rest.open(ticket=rest.ticket())["thread_id"]
    rest.done(mine, "assign", assignee_type="human", assignee_name=f"kb {ticket}")
    view = rest.done(mine, "state", to_state="triaged")
    value = str(view["assignee_name" if name == "assignee" else name]).replace(" ", "%20")
    found = [each["thread_id"] for each in rest.send("GET", f"/forum/threads?{name}={value}&limit=500").body["threads"]]
    assert mine in found and other not in found


def test_pages_show_each_thread_once(rest: Rest) -> None:
    """The cursor leads through all threads by priority, then newest event, none twice, although new ones come."""
    ticket = rest.ticket()
    made = [rest.open(ticket=ticket, priority=p)["thread_id"] for p in ("low", "urgent", "normal", "urgent", "high")]
    found: list[str] = []
    path = f"/forum/threads?ticket={ticket}&limit=2"
    query = path
    while query:
        page = rest.send("GET", query).body
        found += [each["thread_id"] for each in page["threads"]]
        rest.open(ticket=ticket, priority="urgent")
        query = f"{path}&cursor={page['next_cursor']}" if "next_cursor" in page else ""
    assert found == [made[3], made[1], made[4], made[2], made[0]]


@pytest.mark.parametrize("queue", ["unseen", "unanswered", "mine"])
def test_queues(rest: Rest, queue: str) -> None:
    """GET /forum/queues gives what is unseen, unanswered or mine; what has been dealt with leaves it."""
    thread = rest.open()
    path = f"/forum/queues?type={queue}&ticket={thread['ticket']}&viewer_type=human&viewer_id=kb"
    rest.done(thread["thread_id"], "assign", assignee_type="human", assignee_name="kb")
    assert [each["thread_id"] for each in rest.send("GET", path).body["threads"]] == [thread["thread_id"]]
    rest.done(thread["thread_id"], "close")
    rest.act(thread["thread_id"], "seen", viewer_type="human", viewer_id="kb")
    assert rest.send("GET", path).body["threads"] == []


def test_the_breached_queue_is_empty_before_the_time(rest: Rest) -> None:
    """A thread that has just been opened is not overdue."""
    ticket = rest.open()["ticket"]
    assert rest.send("GET", f"/forum/queues?type=breached&ticket={ticket}").body == {"threads": []}


def test_search_finds_words_with_a_snippet(rest: Rest) -> None:
    """GET /forum/search looks in titles and posts, and shows where the word stands."""
    thread = rest.open(title="Broken gasket")
    rest.done(thread["thread_id"], "posts", body="the flummoxing valve")
    for word in ("gasket", "flummoxing", "FLUMMOXING%20valve", "%22flummoxing%20valve%22"):
        found = rest.send("GET", f"/forum/search?query={word}&ticket={thread['ticket']}").body["threads"]
        assert [each["thread_id"] for each in found] == [thread["thread_id"]], word
        assert word.split("%20")[0].strip("%2").lower() in found[0]["match"]["snippet"].lower()
    assert rest.send("GET", f"/forum/search?query=absent&ticket={thread['ticket']}").body == {"threads": []}


def test_events_come_in_order(rest: Rest) -> None:
    """GET /forum/events pages through a ticket's events, ascending; `next_cursor` is the last sequence examined."""
    thread = rest.open()
    rest.done(thread["thread_id"], "posts", body="more")
    rest.done(thread["thread_id"], "close")
    cursor, found = 0, []
    for _ in range(3):
        page = rest.send("GET", f"/forum/events?ticket={thread['ticket']}&cursor={cursor}&limit=1").body
        found += page["events"]
        cursor = page["next_cursor"]
    sequences = [each["sequence"] for each in found]
    assert sequences == sorted(sequences) and len(sequences) == 3
    assert rest.send("GET", f"/forum/events?ticket={thread['ticket']}&cursor={cursor}").body["events"] == []


def test_an_event_is_the_same_as_text_and_object(rest: Rest) -> None:
    """`payload_json` is the payload as text, `payload` the same as an object."""
    import json

    event = rest.events(rest.open()["thread_id"])[0]
    assert json.loads(event["payload_json"]) == event["payload"]


def test_stats_count_threads(rest: Rest) -> None:
    """GET /forum/stats counts by ticket, run, state and priority, and says how many wait."""
    ticket = rest.ticket()
    for _ in range(2):
        rest.open(ticket=ticket, run_id="run-1", priority="low")
    rest.done(rest.open(ticket=ticket)["thread_id"], "close")
    told = rest.send("GET", f"/forum/stats?ticket={ticket}").body
    counted = {(each.get("run_id"), each["state"], each["priority"]): each["thread_count"] for each in told["stats"]}
    assert counted == {("run-1", "new", "low"): 2, (None, "closed", "normal"): 1}
    assert told["sla"].items() >= {"waiting_count": 2, "breached_count": 0}.items()


def test_a_command_can_be_looked_up(rest: Rest) -> None:
    """GET /forum/commands/{id} tells what became of it: applied with its thread, or rejected with the error."""
    event = rest.events(rest.open()["thread_id"])[0]
    applied = rest.send("GET", f"/forum/commands/{event['envelope']['causation_id']}").body["command"]
    assert (applied["status"], applied["thread"]["state"]) == ("applied", "new")
    refused = rest.act("fthr-nowhere", "close")
    rejected = rest.send("GET", f"/forum/commands/{refused.error['correlation_id']}").body["command"]
    assert (rejected["status"], rejected["error"]["code"]) == ("rejected", "not_found")
    assert rest.send("GET", "/forum/commands/fcmd-none").status == 404


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/forum/debug?limit=5", "/forum/rebuild"])
def test_pages_of_the_daemon(rest: Rest, path: str) -> None:
    """Health, liveness, readiness, debug and the rebuild's state answer in their documented form."""
    assert rest.send("GET", path).status == 200


def test_debug_hides_nothing_that_matters_and_the_password(rest: Rest) -> None:
    """GET /forum/debug names each command topic with its stream and group."""
    rest.open()
    debug = rest.send("GET", "/forum/debug").body["debug"]
    topics = {each["topic"]: each for each in debug["bus"]["topics"]}
    assert {"forum.commands.open_thread", "forum.commands.close_thread", "metawsm-forum"} <= set(topics)
    assert topics["forum.commands.open_thread"]["stream_length"] > 0
    assert debug["bus"]["healthy"] is True


def test_the_read_models_can_be_made_anew(rest: Rest) -> None:
    """POST /forum/rebuild answers 202, and the lists are the same afterwards."""
    thread = rest.open()
    before = rest.send("GET", f"/forum/threads?ticket={thread['ticket']}").body
    assert rest.send("POST", "/forum/rebuild", {}).status == 202
    assert rest.send("GET", f"/forum/threads?ticket={thread['ticket']}").body == before
