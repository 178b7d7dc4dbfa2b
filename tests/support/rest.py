"""A daemon's REST interface as the contract tests use it: every answer is held against the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import apsw

from tests.support.daemon import BASE, Daemon, Reply
from tests.support.json_schema import faults, resolve

STATE_TABLES = (
    "forum_threads", "forum_posts", "forum_state_transitions", "forum_assignments", "forum_control_threads",
    "forum_events", "forum_thread_reads", "forum_post_receipts", "forum_thread_views", "forum_agent_inbox",
    "forum_unread_answers",
)  # fmt: skip
ACCEPTING_TABLES = ("forum_outbox", "idempotency_keys")


class Rest:
    """Requests to a daemon, checked against its own document."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.document = daemon.request("GET", "/openapi.json").body
        self._count = 0

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        *,
        anonymous: bool = False,
    ) -> Reply:
        """Send a request as `Daemon.request` does, and check the answer against the document."""
        reply = self.daemon.request(method, path, body, headers, anonymous=anonymous)
        self.check(method, path, reply)
        return reply

    def check(self, method: str, path: str, reply: Reply) -> None:
        """The answer has JSON's content type, a documented status, and a body of the documented form."""
        assert reply.headers["content-type"].partition(";")[0] == "application/json"
        assert int(reply.headers["content-length"]) == len(reply.text.encode())
        schema = self._schema(method, path, reply.status)
        assert list(faults(schema, reply.body, self.document)) == [], reply.text

    def _schema(self, method: str, path: str, status: int) -> Any:
        operation = self.operation(method, path)
        if operation is None:
            assert status in (404, 405), f"{status} for {method} {path}, which is not documented"
            return {"$ref": "#/components/schemas/Error"}
        answer = operation["responses"].get(str(status))
        assert answer, f"{status} is not documented for {method} {path}"
        answer = resolve(answer["$ref"], self.document) if "$ref" in answer else answer
        return answer["content"]["application/json"]["schema"]

    def operation(self, method: str, path: str) -> Any:
        """The documented operation of a path, or None."""
        whole = urlsplit(path if path.startswith(("/api/", "/livez", "/readyz")) else BASE + path).path
        for template in sorted(self.document["paths"], key=lambda each: each.count("{")):
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), whole):
                return self.document["paths"][template].get(method.lower())
        return None

    def ticket(self) -> str:
        """A ticket that no other test uses."""
        self._count += 1
        return f"T-{self._count}"

    def open(self, **fields: Any) -> dict[str, Any]:
        """Open a thread as an agent and give its view."""
        asked = {"ticket": self.ticket(), "title": "Which schema?", "body": "v1 or v2?", "actor_type": "agent"}
        reply = self.send("POST", "/forum/threads", asked | fields)
        assert reply.status == 201, reply.text
        view: dict[str, Any] = reply.body["thread"]
        return view

    def act(self, thread_id: str, action: str, **fields: Any) -> Reply:
        """Do something to a thread as an operator."""
        return self.send("POST", f"/forum/threads/{thread_id}/{action}", {"actor_type": "operator"} | fields)

    def done(self, thread_id: str, action: str, **fields: Any) -> dict[str, Any]:
        """Do something that must succeed, and give the view after it."""
        reply = self.act(thread_id, action, **fields)
        assert reply.status == 200, reply.text
        view: dict[str, Any] = reply.body["thread"]
        return view

    def in_state(self, state: str) -> dict[str, Any]:
        """A new thread in a state."""
        thread = self.open()
        return thread if state == "new" else self.done(thread["thread_id"], "state", to_state=state)

    def view(self, thread_id: str) -> dict[str, Any]:
        """The thread as readers see it."""
        view: dict[str, Any] = self.send("GET", f"/forum/threads/{thread_id}").body["thread"]
        return view

    def events(self, thread_id: str) -> list[dict[str, Any]]:
        """All events of a thread."""
        found: list[dict[str, Any]] = self.send("GET", f"/forum/events?thread_id={thread_id}&limit=1000").body["events"]
        return found

    def types(self, thread_id: str) -> list[str]:
        """The types of a thread's events, without `forum.`."""
        return [str(each["envelope"]["event_type"]).removeprefix("forum.") for each in self.events(thread_id)]

    def counts(self, tables: tuple[str, ...]) -> dict[str, int]:
        """How many rows the tables have."""
        db = apsw.Connection(str(self.daemon.database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return {table: db.execute(f"SELECT count(*) FROM {table}").get for table in tables}
        finally:
            db.close()

    @contextmanager
    def nothing_is_stored(self) -> Iterator[None]:
        """What happens inside leaves no row anywhere: it is refused before acceptance."""
        with self._unchanged(STATE_TABLES + ACCEPTING_TABLES):
            yield

    @contextmanager
    def nothing_happens(self) -> Iterator[None]:
        """What happens inside changes no state and makes no event: commands are rejected, or are no-ops."""
        with self._unchanged(STATE_TABLES):
            yield

    @contextmanager
    def _unchanged(self, tables: tuple[str, ...]) -> Iterator[None]:
        before = self.counts(tables)
        yield
        assert self.counts(tables) == before
