"""The serving side: whether a daemon answers, what it says of itself, and whether the token is its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from metawsm.client.address import parse_address
from metawsm.client.errors import ApiError, BadAnswer, DaemonUnreachable
from metawsm.client.http import Client, json_object
from metawsm.client.token import Found, find_token
from metawsm.daemon.checks.finding import FAIL, OK, WARN, Case, Finding, Seen, fail, ok, warn
from metawsm.domain.errors import MetawsmError
from metawsm.storage.lock import Holder

ANSWER_SECONDS = 1.5
FIND_IT = "set METAWSM_TOKEN_FILE to the daemon's .metawsm/token, or run in its folder; agents need none"
JUDGED = {"ok": OK, "attention": WARN}
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask a daemon that listens everywhere


def url_of(host: str, port: int) -> str:
    """Where a daemon that listens there is asked from this machine."""
    name = ANYWHERE.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def holders_url(holder: Holder) -> str:
    """Where a daemon that holds the lock says that it serves."""
    host, _, port = holder.addr.rpartition(":")
    return url_of(host, int(port))


def token_for(url: str, found: Found) -> str | None:
    """The token to send there: one that was only found on the way up is for this machine's daemon."""
    return found.token if found.named or parse_address(url).is_loopback else None


def ask(url: str, token: str | None) -> Seen | None:
    """What the daemon at `url` says (nothing to a stranger, if it wants a token); None where none answers.

    Raises BadAnswer for another program.
    """
    client = Client(url, token, ANSWER_SECONDS, wait=lambda _: None)
    try:
        response = client.request("GET", "/api/v1/health")
        health = json_object(response, url)
    except DaemonUnreachable:
        return None
    finally:
        client.close()
    if response.status == 401 and "error" in health:
        return Seen(url, {})
    if "components" not in health:
        raise BadAnswer(f"what answers at {url} is not a metawsm daemon")
    return Seen(url, health, _bus(client))


def _bus(client: Client) -> Mapping[str, Any]:
    try:
        found = client.call("GET", "/forum/debug", {"limit": 1})[1].get("debug", {}).get("bus", {})
    except MetawsmError:  # without a token, or while the forum is off: health says enough
        return {}
    finally:
        client.close()
    return found if isinstance(found, dict) else {}


def serving(case: Case) -> Iterator[Finding]:
    """Port, health and token."""
    yield _port(case)
    yield _health(case)
    yield _token(case)


def _port(case: Case) -> Finding:
    if case.served and case.seen is not None:
        return ok("daemon.port", f"the daemon answers at {case.seen.url}")
    host, port = case.address
    shown = url_of(host, port)
    try:
        with socket.create_connection((ANYWHERE.get(host, host), port), ANSWER_SECONDS):
            hint = "end it (the daemon of another project?), or choose another port with --addr"
            return fail("daemon.port", f"another program listens at {shown}", hint)
    except ConnectionRefusedError:
        return ok("daemon.port", f"nobody listens at {shown}")
    except OSError as error:
        return warn("daemon.port", f"{shown}: {error.strerror or error}", "name an address of this machine with --addr")


def _health(case: Case) -> Finding:
    if case.seen is None:
        if case.served:
            hint = "look at its log; if it answers at no time, restart it"
            return fail("daemon.health", "a daemon holds the database and does not answer", hint)
        return ok("daemon.health", "no daemon runs; `metawsm.pyz serve` starts one")
    health = case.seen.health
    if not health:
        return warn("daemon.health", f"{case.seen.url} answers, and tells its health only with its token", FIND_IT)
    parts = {"outbox": health.get("outbox"), **_object(health.get("components"))}
    odd = [
        f"{name}: {_told(_object(part))}" for name, part in parts.items() if _object(part).get("status", "ok") != "ok"
    ]
    status = str(health.get("status"))
    shown = f"{case.seen.url} is {status}" + (f" ({'; '.join(odd)})" if odd else f" since {health.get('started_at')}")
    if status == "ok":
        return ok("daemon.health", shown)
    return Finding("daemon.health", JUDGED.get(status, FAIL), shown, "docs/runbook-failures.md has each message")


def _told(part: Mapping[str, Any]) -> str:
    return str(part.get("error") or f"{part.get('open', '')} {part.get('status')}".strip())


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _token(case: Case) -> Finding:
    found = find_token(case.env, case.directory)
    if found.token is None:
        why = "; ".join(found.notes) or "none was found from here upwards"
        if not case.runs and not found.notes:
            return ok("daemon.token", "the first start makes one")
        return warn("daemon.token", why, FIND_IT)
    if case.seen is None:
        return ok("daemon.token", f"{found.source}; nobody can be asked whether it is right")
    if token_for(case.seen.url, found) is None:
        return warn("daemon.token", f"that of {found.source} is not sent to {case.seen.url}", FIND_IT)
    return _tried(case.seen.url, found)


def _tried(url: str, found: Found) -> Finding:
    client = Client(url, found.token, ANSWER_SECONDS, wait=lambda _: None)
    try:
        client.call("GET", "/forum/rebuild")
    except ApiError as error:
        if error.code in ("unauthenticated", "not_allowed"):
            return fail("daemon.token", f"{found.source}: {error.message}", FIND_IT)
    except MetawsmError as error:
        return warn("daemon.token", error.message, FIND_IT)
    finally:
        client.close()
    return ok("daemon.token", f"{found.source} is the daemon's")
