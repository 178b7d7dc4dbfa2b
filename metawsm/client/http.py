"""Requests to the daemon: headers, retries that are safe, and errors in the words of the daemon."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from metawsm.client.address import Address, parse_address, quote
from metawsm.client.backoff import pause
from metawsm.client.connection import Connection, Lost, Response, Silent, unreachable
from metawsm.client.errors import ApiError, BadAnswer, DaemonUnreachable
from metawsm.domain.errors import InvalidFields, MetawsmError

BASE = "/api/v1"
TRIES = 3
LONGEST_PAUSE = 5.0
READS = ("GET", "HEAD")


class Client:
    """A client of one daemon, for one thread. Every write has an idempotency key and is repeated with the same one."""

    def __init__(
        self,
        server: str,
        token: str | None = None,
        timeout: float = 40.0,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """`server` is an address such as http://127.0.0.1:3001; `timeout` seconds hold for each try.

        `wait` is called with the seconds to wait before a further try.
        """
        self.address = parse_address(server)
        self.token = token
        self.timeout = timeout
        self._wait = wait
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close the kept connection, if any."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of a request below `/api/v1` that succeeded; ApiError for status 400 and above."""
        response = self.request(method, BASE + path, query, body, headers)
        if response.status >= 400:
            raise refusal(response, self.address)
        return response.status, json_object(response, self.address.url)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and return its answer, whatever its status. `query` members that are None are left out.

        Tried up to three times when the connection is lost or the daemon asks to come back (Retry-After).
        Raises DaemonUnreachable or BadAnswer.
        """
        data = b"" if body is None else _encode(body)
        extra = dict(headers or {})
        if method not in READS:
            extra.setdefault("Idempotency-Key", os.urandom(16).hex())
        head = self._head(method, target(self.address.base + path, query), data, extra)
        for attempt in range(1, TRIES + 1):
            response, seconds = self._try(head, data, method, attempt)
            if response is not None and (seconds is None or attempt == TRIES):
                return response
            self._wait(seconds or pause(attempt - 1, 0.2, 4, LONGEST_PAUSE))
        raise AssertionError("the last try returns or raises")

    def _try(self, head: bytes, data: bytes, method: str, attempt: int) -> tuple[Response | None, float | None]:
        """One try: the answer (None if the connection was lost) and the seconds after which to try again, if so."""
        try:
            response = self._exchange(head, data, method)
        except Lost as lost:
            if attempt == TRIES or isinstance(lost, Silent):
                raise self._gave_up(method, str(lost)) from None
            return None, None
        except DaemonUnreachable:
            if attempt in (1, TRIES):  # not there at all: say so at once
                raise
            return None, None
        return response, _asked_pause(response)

    def _exchange(self, head: bytes, data: bytes, method: str) -> Response:
        """Use the kept connection, or a new one when there is none or the kept one has gone stale."""
        connection = self._connection
        self._connection = None
        if connection is not None:
            try:
                return self._over(connection, head, data, method)
            except Silent:
                raise
            except Lost:
                connection.close()
        return self._over(Connection(self.address, min(self.timeout, 10.0)), head, data, method)

    def _over(self, connection: Connection, head: bytes, data: bytes, method: str) -> Response:
        """Exchange over this connection, and keep it if it can be used again."""
        try:
            response, keep = connection.exchange(head, data, self.timeout, has_body=method != "HEAD")
        except BaseException:
            connection.close()
            raise
        if keep:
            self._connection = connection
        else:
            connection.close()
        return response

    def _gave_up(self, method: str, reason: str) -> DaemonUnreachable:
        """No try brought an answer."""
        hint = "" if method in READS else "; the request may have been stored all the same, look before you repeat it"
        return unreachable(self.address, reason, hint)

    def upgrade_head(self, path: str, query: Mapping[str, object], headers: Mapping[str, str]) -> bytes:
        """The head of a request that asks for another protocol."""
        return self._head("GET", target(self.address.base + path, query), b"", headers)

    def _head(self, method: str, path: str, data: bytes, extra: Mapping[str, str]) -> bytes:
        """The request line and the headers. Raises InvalidFields for a header that would break the request."""
        headers = {"Host": self.address.authority, "Accept": "application/json", "User-Agent": "metawsm", **extra}
        if data or method not in READS:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise InvalidFields(f"the header {name} may hold only printable ASCII")
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("ascii")


def target(path: str, query: Mapping[str, object] | None) -> str:
    """A path with its query; True and False are written as JSON writes them."""
    pairs = [f"{quote(name)}={quote(_plain(value))}" for name, value in (query or {}).items() if value is not None]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def _plain(value: object) -> str:
    """A query value as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _encode(body: Mapping[str, Any]) -> bytes:
    """The body as UTF-8 JSON. Raises InvalidFields for texts that UTF-8 cannot hold."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise InvalidFields("the text is not valid UTF-8 (lone surrogates)") from None


def _asked_pause(response: Response) -> float | None:
    """Seconds after which a refused request should come back, if the daemon says so."""
    text = response.headers.get("retry-after", "")
    if response.status not in (429, 503) or not (text.isascii() and text.isdigit()):
        return None
    return min(max(float(text[:6]), 0.1), LONGEST_PAUSE)


def json_object(response: Response, url: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises BadAnswer for anything else."""
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _other_tongue(response, url)
    return value


def refusal(response: Response, address: Address) -> MetawsmError:
    """The error for a status of 400 and more: the daemon's own, or what somebody else's answer means.

    Without an error object it is not the daemon's: from 500 on a proxy says that it does not reach it.
    """
    try:
        answer = json_object(response, address.url)
    except BadAnswer:
        answer = {}
    error = answer.get("error")
    if isinstance(error, dict) and error.get("code"):
        return ApiError(response.status, response.body, answer)
    if response.status >= 500:
        return unreachable(address, f"what answers there says {response.status}")
    return _other_tongue(response, address.url)


def _other_tongue(response: Response, url: str) -> BadAnswer:
    return BadAnswer(
        f"what answers at {url} (status {response.status}) does not speak as metawsm does;"
        " is it another program's port?"
    )
