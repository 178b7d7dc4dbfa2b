"""Who may do what: tokens, anonymous loopback, and where a request may come from. Source: contract, section 5."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from metawsm.api.errors import Forbidden, UnsupportedMediaType
from metawsm.api.exchange import Request
from metawsm.domain.agent_token import Agent, agent_of
from metawsm.domain.envelope import Actor
from metawsm.domain.errors import InvalidFields, NotAllowed, Unauthenticated
from metawsm.domain.states import ACTOR_TYPES, OUTSIDE_ACTORS

HOW_TO_SEND_IT = "send `Authorization: Bearer <token>` with the one line of .metawsm/token (beside the database)"
_FORWARDED = frozenset(
    {"HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO",
     "HTTP_X_REAL_IP"}
)  # fmt: skip


@frozen
class Credential:
    """How a sender is known: `known_by` is `token`, `agent_token`, `loopback` (writes as agent) or `open`.

    `agent` is the one that an agent's token names.
    """

    known_by: str
    agent: Agent | None = None

    @property
    def scope(self) -> str:
        """What keeps one sender's idempotency keys from another's."""
        return f"{self.known_by}:{self.agent.run_id}/{self.agent.agent_name}" if self.agent else self.known_by

    def check_body(self, message: Any) -> None:
        """An agent's token writes in the name of its own agent and run alone. Raises NotAllowed."""
        if self.agent is None:
            return
        for name, own in (("run_id", self.agent.run_id), ("agent_name", self.agent.agent_name)):
            value = getattr(message, name, own)
            if value not in (None, own):
                raise NotAllowed(f"you are known as {_named(self.agent)}: {name} must be {own}, not {value}")


_OWNER, _LOOPBACK, _OPEN = Credential("token"), Credential("loopback"), Credential("open")


@frozen
class Access:
    """The rules. `loopback` is the policy's `auth.loopback`: agent, open or token."""

    token: str
    loopback: str = "agent"

    def credential(self, request: Request) -> Credential:
        """How the sender is known.

        Raises Unauthenticated, or Forbidden for a host name that a hostile page could have chosen.
        """
        header = request.header("HTTP_AUTHORIZATION")
        if header is not None:
            return self._by_token(header)
        if self.loopback == "token" or not _is_loopback(request):
            raise Unauthenticated(f"a token is needed: {HOW_TO_SEND_IT}")
        self._check_host(request)
        return _OPEN if self.loopback == "open" else _LOOPBACK

    def check_owner(self, request: Request) -> None:
        """What concerns the daemon itself is not for agents. Raises NotAllowed besides what `credential` raises."""
        credential = self.credential(request)
        if credential.agent:
            raise NotAllowed(f"you are known as {_named(credential.agent)}: this is not for agents")
        if credential == _LOOPBACK:
            raise NotAllowed(f"this needs a token: {HOW_TO_SEND_IT}")

    def check_source(self, request: Request) -> None:
        """Refuse what another site's page sends: on every write and on the WebSocket upgrade. Raises Forbidden."""
        site = request.header("HTTP_SEC_FETCH_SITE")
        if site not in (None, "same-origin", "none"):
            raise Forbidden(f"requests from another site are refused (Sec-Fetch-Site: {site})")
        origin = request.header("HTTP_ORIGIN")
        if origin is not None and not _same_origin(origin, request.header("HTTP_HOST") or ""):
            raise Forbidden(f"requests of origin {origin[:200]!r} are refused")

    def check_write(self, request: Request) -> None:
        """What every write needs besides a credential. Raises Forbidden, UnsupportedMediaType."""
        self.check_source(request)
        kind = (request.header("CONTENT_TYPE") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedMediaType(
                f"the body must be sent as Content-Type: application/json, not {kind or 'nothing'!r}"
            )
        coding = request.header("HTTP_CONTENT_ENCODING")
        if coding and coding.lower() != "identity":
            raise UnsupportedMediaType(f"the body must be sent without a Content-Encoding, not {coding[:200]!r}")

    def actor(self, credential: Credential, body: Mapping[str, Any]) -> Actor:
        """The actor of a write. Raises InvalidFields when it is missing, NotAllowed when the credential forbids it."""
        wanted, name = body.get("actor_type"), body.get("actor_name")
        if credential.agent:
            return _agent_actor(credential.agent, wanted, name)
        if credential == _LOOPBACK:
            if wanted not in (None, "agent") and wanted in OUTSIDE_ACTORS:
                raise NotAllowed(f"without a token you act as agent, not as {wanted}: {HOW_TO_SEND_IT}")
            wanted = "agent" if wanted is None else wanted
        if wanted == "system":
            raise NotAllowed("actor_type system never comes from outside")
        if wanted is None:
            raise InvalidFields("faulty field(s): actor_type", fields={"actor_type": ["is required"]})
        return Actor(str(wanted), name if isinstance(name, str) else None, credential.known_by)

    def _by_token(self, header: str) -> Credential:
        scheme, _, rest = header.partition(" ")
        given = rest.strip()
        if scheme.lower() == "bearer":
            if hmac.compare_digest(given.encode(), self.token.encode()):
                return _OWNER
            if agent := agent_of(self.token, given):
                return Credential("agent_token", agent)
        raise Unauthenticated("the Authorization header is not `Bearer <token>` with this daemon's token")

    def _check_host(self, request: Request) -> None:
        """A name other than localhost could be a hostile page's own name that now leads here (DNS rebinding)."""
        host = request.header("HTTP_HOST")
        if host is None or not _is_local_name(_host_name(host)):
            raise Forbidden(
                f"anonymous requests must name localhost or a loopback address as Host, not {str(host)[:200]!r}"
            )


def _agent_actor(agent: Agent, wanted: Any, name: Any) -> Actor:
    """The agent itself; what else is wrong with the fields is found when they are read."""
    if wanted in ACTOR_TYPES and wanted != "agent":
        raise NotAllowed(f"you are known as {_named(agent)}: you act as agent, not as {wanted}")
    if isinstance(name, str) and name not in ("", agent.agent_name):
        raise NotAllowed(f"you are known as {_named(agent)}: actor_name must be {agent.agent_name}, not {name[:100]}")
    return Actor("agent", agent.agent_name, "agent_token")


def _named(agent: Agent) -> str:
    return f"agent {agent.agent_name} of {agent.run_id}"


def _is_loopback(request: Request) -> bool:
    if not _FORWARDED.isdisjoint(request.environ):
        return False  # a proxy on this machine speaks for somebody else
    return _is_loopback_address(str(request.environ.get("REMOTE_ADDR", "")))


@lru_cache(256)
def _is_loopback_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


@lru_cache(256)
def _is_local_name(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower() and not parts.path
