"""Who may do what, and from where (contract, section 5, Access)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.rest import Rest

OPEN = {"ticket": "T-1", "title": "Which schema?", "body": "v1 or v2?"}


def known_by(rest: Rest, thread: Mapping[str, Any]) -> tuple[str, str]:
    """The actor type of a thread's opening event, and how it was known."""
    head = rest.events(thread["thread_id"])[0]["envelope"]
    return head["actor_type"], head["actor_known_by"]


def test_the_token_file(rest: Rest) -> None:
    """The daemon has written one line for its owner alone."""
    path = rest.daemon.folder / ".metawsm" / "token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == rest.daemon.token + "\n" and len(rest.daemon.token) >= 32


@pytest.mark.parametrize("actor", [{}, {"actor_type": "agent"}, {"actor_type": None}])
def test_anonymous_requests_act_as_agent(rest: Rest, actor: dict[str, Any]) -> None:
    """From loopback without a token a write is an agent's, named or not; the event says how the actor was known."""
    reply = rest.send("POST", "/forum/threads", OPEN | actor, anonymous=True)
    assert reply.status == 201
    assert known_by(rest, reply.body["thread"]) == ("agent", "loopback")


@pytest.mark.parametrize("actor_type", ["human", "operator", "system"])
def test_anonymous_requests_act_as_nobody_else(rest: Rest, actor_type: str) -> None:
    """Another actor_type without a token is 403, and nothing is stored."""
    with rest.nothing_is_stored():
        reply = rest.send("POST", "/forum/threads", OPEN | {"actor_type": actor_type}, anonymous=True)
    assert (reply.status, reply.error["code"]) == (403, "not_allowed")


@pytest.mark.parametrize("actor_type", ["agent", "human", "operator"])
def test_the_token_acts_as_anybody(rest: Rest, actor_type: str) -> None:
    """With the token each actor_type but system is taken."""
    assert known_by(rest, rest.open(actor_type=actor_type)) == (actor_type, "token")


def test_system_never_comes_from_outside(rest: Rest) -> None:
    """actor_type system is 403 with the token, too."""
    with rest.nothing_is_stored():
        reply = rest.send("POST", "/forum/threads", OPEN | {"actor_type": "system"})
    assert (reply.status, reply.error["code"]) == (403, "not_allowed")


@pytest.mark.parametrize(
    "given", ["Bearer wrong", "Bearer", "", "Basic eDp5", "Bearer \u00e4", "token {token}", "Bearer {token}x"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_token(rest: Rest, method: str, given: str) -> None:
    """A credential that is not this daemon's token is 401 for reads and writes, not taken as anonymous."""
    header = {"Authorization": given.format(token=rest.daemon.token)}
    with rest.nothing_is_stored():
        reply = rest.send(method, "/forum/threads", OPEN if method == "POST" else None, header)
    assert (reply.status, reply.error["code"]) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"].startswith("Bearer")


READS = ("/health", "/forum/threads", "/forum/events", "/forum/stats", "/forum/debug", "/openapi.json")


@pytest.mark.parametrize("path", READS)
def test_anonymous_requests_may_read(rest: Rest, path: str) -> None:
    """Reading needs no token from this machine."""
    assert rest.send("GET", path, anonymous=True).status == 200


HOSTS = {
    "localhost": 200, "127.0.0.1": 200, "127.0.0.1:3001": 200, "10.1.2.3": 403, "203.0.113.9:3001": 403,
    "[::1]:3001": 200, "LOCALHOST:1": 200,
    "evil.example": 403, "evil.example:3001": 403, "127.0.0.1.evil.example": 403, "": 403, "localhost.evil": 403,
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_the_host_of_anonymous_requests(rest: Rest, host: str) -> None:
    """An anonymous request must name this machine: another name may be a page's own (DNS rebinding)."""
    assert rest.send("GET", "/forum/threads", headers={"Host": host}, anonymous=True).status == HOSTS[host]
    reply = rest.send("POST", "/forum/threads", OPEN, {"Host": host}, anonymous=True)
    assert reply.status == (201 if HOSTS[host] == 200 else 403)


PLACES: list[tuple[dict[str, str], bool]] = [
    ({"Origin": "http://evil.example"}, False), ({"Origin": "null"}, False), ({"Origin": "http://localhost:1"}, False),
    ({"Origin": "http://[bad"}, False), ({"Origin": "http://localhost:3001/x"}, False), ({"Origin": ""}, False),
    ({"Origin": "ftp://localhost:3001"}, False), ({"Origin": "http://localhost:3001"}, True),
    ({"Sec-Fetch-Site": "cross-site"}, False), ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "x"}, False), ({"Sec-Fetch-Site": "same-origin"}, True), ({"Sec-Fetch-Site": "none"}, True),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "allowed"), PLACES)
@pytest.mark.parametrize("anonymous", [True, False])
def test_writes_of_other_sites(rest: Rest, headers: dict[str, str], allowed: bool, anonymous: bool) -> None:
    """What a page of another origin sends is 403, with the token or without; the daemon's own pages may write."""
    sent = {"Host": "localhost:3001", **headers}
    actor = {} if anonymous else {"actor_type": "human"}
    reply = rest.send("POST", "/forum/threads", OPEN | actor, sent, anonymous=anonymous)
    assert reply.status == (201 if allowed else 403)
    if not allowed:
        assert reply.error["code"] == "forbidden"
        assert rest.send("POST", "/forum/rebuild", {}, sent, anonymous=anonymous).status == 403


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via"]
)
def test_a_proxy_is_not_loopback(rest: Rest, header: str) -> None:
    """A request that a proxy passes on is somebody else's: anonymous ones are 401."""
    reply = rest.send("GET", "/forum/threads", headers={header: "10.0.0.1"}, anonymous=True)
    assert reply.status == 401


def test_an_anonymous_agent_rebuilds_nothing(rest: Rest) -> None:
    """A rebuild is the owner's: without the token it is 403, and its body must be empty."""
    assert rest.send("POST", "/forum/rebuild", {}, anonymous=True).status == 403
    reply = rest.send("POST", "/forum/rebuild", {"bogus": 1})
    assert (reply.status, set(reply.error["fields"])) == (422, {"bogus"})


def test_loopback_open(start_daemon: Callable[..., Daemon]) -> None:
    """With auth.loopback `open` anonymous requests name any actor, but must name one; a wrong token stays wrong."""
    rest = Rest(start_daemon(METAWSM_AUTH_LOOPBACK="open"))
    reply = rest.send("POST", "/forum/threads", OPEN | {"actor_type": "human"}, anonymous=True)
    assert known_by(rest, reply.body["thread"]) == ("human", "open")
    missing = rest.send("POST", "/forum/threads", OPEN, anonymous=True)
    assert (missing.status, set(missing.error["fields"])) == (422, {"actor_type"})
    assert rest.send("POST", "/forum/threads", OPEN | {"actor_type": "system"}, anonymous=True).status == 403
    assert rest.send("GET", "/forum/threads", headers={"Authorization": "Bearer x"}, anonymous=True).status == 401


def test_loopback_token(start_daemon: Callable[..., Daemon]) -> None:
    """With auth.loopback `token` everything but liveness and readiness needs the token."""
    rest = Rest(start_daemon(METAWSM_AUTH_LOOPBACK="token"))
    for path in READS:
        assert rest.send("GET", path, anonymous=True).status == 401, path
        assert rest.send("GET", path).status == 200, path
    for path in ("/livez", "/readyz"):
        assert rest.send("GET", path, anonymous=True).status == 200, path
    assert rest.send("POST", "/forum/threads", OPEN, anonymous=True).status == 401
    assert rest.send("POST", "/forum/rebuild", {}, anonymous=True).status == 401
