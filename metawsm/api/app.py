"""The WSGI application: routes from the catalogue and the queries, answers as JSON, every error in one shape."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import bottle
from attrs import frozen

from metawsm.api import errors, operations
from metawsm.api.access import Access
from metawsm.api.exchange import Answer, Environ, Request
from metawsm.api.feed import Feed
from metawsm.api.http_head import Refusal
from metawsm.api.operations import BASE, Operation
from metawsm.api.queries import Queries
from metawsm.api.writes import Writes
from metawsm.bus.catalogue import Catalogue
from metawsm.domain.errors import MetawsmError, NotFound, OutcomeUnknown, Unavailable

StartResponse = Callable[..., Any]
Endpoint = Callable[[Request], Answer]
STREAM = operations.STREAM.whole
log = logging.getLogger("metawsm.http")


@frozen
class Pages:
    """Endpoints that the daemon composes: health, debug, documents, readiness, rebuild, dead letters, backups, runs."""

    health: Endpoint
    debug: Endpoint
    livez: Endpoint
    readyz: Endpoint
    openapi: Endpoint
    asyncapi: Endpoint
    rebuild: Endpoint
    rebuild_state: Endpoint
    letters: Endpoint
    letter: Endpoint
    replay_letter: Endpoint
    discard_letter: Endpoint
    replay_letters: Endpoint
    discard_letters: Endpoint
    backup: Endpoint
    backups: Endpoint
    runs: Endpoint
    run: Endpoint
    release_jobs: Endpoint


class Application:
    """A WSGI application. `enabled` is the policy's `forum.enabled`: without it forum routes answer 503."""

    def __init__(
        self,
        catalogue: Catalogue,
        access: Access,
        writes: Writes,
        queries: Queries,
        feed: Feed,
        pages: Pages,
        enabled: bool,
    ) -> None:
        self._access = access
        self._feed = feed
        self._enabled = enabled
        self._router = bottle.Bottle()  # only its router is used
        self._hot: dict[tuple[str, str], Endpoint] = {}
        for spec in catalogue.public:
            write = partial(writes.endpoint, spec)
            self._route("POST", BASE + spec.path, self._forum(write) if spec.path.startswith("/forum/") else write)
        endpoints = _endpoints(queries, pages)
        for operation in operations.ALL:
            self._route(operation.method, operation.whole, self._admitted(operation, endpoints[operation.name]))
        self._route("GET", STREAM, self._forum(_upgrade_required))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        endpoint = self._hot.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if environ["PATH_INFO"] == STREAM and "HTTP_UPGRADE" in environ:
            return self._stream(environ, start_response)
        answer = self._routed(environ) if endpoint is None else _guarded(endpoint, Request(environ))
        return _send(answer, environ, start_response)

    def _route(self, method: str, path: str, endpoint: Endpoint) -> None:
        if "{" not in path:
            self._hot[method, path] = endpoint  # no pattern to match: skips the router, the same endpoint
        # A letter's id is a number: else `/forum/dead-letters/replay` would be a letter, too, and allow GET.
        pattern = path.replace("{letter_id}", "<letter_id:re:[0-9]+>")
        # A command's id is all the rest: other programs choose ids, also with slashes, as `<topic>/<entry id>`.
        pattern = pattern.replace("{command_id}", r"<command_id:re:[\s\S]+>")
        self._router.route(re.sub(r"{(\w+)}", r"<\1>", pattern), method, endpoint)

    def _routed(self, environ: Environ) -> Answer:
        try:
            route, path = self._router.match(environ)
        except bottle.HTTPError as error:
            return _guarded(partial(_no_route, error), Request(environ))
        return _guarded(route.callback, Request(environ, _decoded(path)))

    def _admitted(self, operation: Operation, endpoint: Endpoint) -> Endpoint:
        """The endpoint behind the checks that its operation needs."""

        def checked(request: Request) -> Answer:
            self._access.credential(request)
            if operation.method != "GET":
                self._access.check_write(request)
                self._access.check_owner(request)
            return endpoint(request)

        if operation.open:
            return endpoint
        return self._forum(checked) if operation.forum else checked

    def _forum(self, endpoint: Endpoint) -> Endpoint:
        return endpoint if self._enabled else _disabled

    def _stream(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            if not self._enabled:
                _disabled(Request(environ))
            self._feed.serve(environ)
        except MetawsmError as error:
            return _send(answer_of(error), environ, start_response)
        return []


def _endpoints(queries: Queries, pages: Pages) -> dict[str, Endpoint]:
    """What serves each operation, by its name."""
    return {
        operations.HEALTH.name: pages.health,
        operations.LIVEZ.name: pages.livez,
        operations.READYZ.name: pages.readyz,
        operations.OPENAPI.name: pages.openapi,
        operations.ASYNCAPI.name: pages.asyncapi,
        operations.LIST_THREADS.name: queries.threads,
        operations.SHOW_THREAD.name: queries.thread,
        operations.SHOW_QUEUE.name: queries.queue,
        operations.SEARCH.name: queries.search,
        operations.SHOW_INBOX.name: queries.inbox,
        operations.SHOW_STATS.name: queries.stats,
        operations.LIST_EVENTS.name: queries.events,
        operations.SHOW_COMMAND.name: queries.command,
        operations.DEBUG.name: pages.debug,
        operations.REBUILD.name: pages.rebuild,
        operations.REBUILD_STATE.name: pages.rebuild_state,
        operations.LIST_LETTERS.name: pages.letters,
        operations.SHOW_LETTER.name: pages.letter,
        operations.REPLAY_LETTER.name: pages.replay_letter,
        operations.DISCARD_LETTER.name: pages.discard_letter,
        operations.REPLAY_LETTERS.name: pages.replay_letters,
        operations.DISCARD_LETTERS.name: pages.discard_letters,
        operations.CREATE_BACKUP.name: pages.backup,
        operations.LIST_BACKUPS.name: pages.backups,
        operations.LIST_RUNS.name: pages.runs,
        operations.SHOW_RUN.name: pages.run,
        operations.RELEASE_JOBS.name: pages.release_jobs,
    }


def _decoded(path: Mapping[str, str]) -> dict[str, str]:
    """Path parameters as text; bottle hands them over as Latin-1 bytes (PEP 3333)."""
    try:
        return {name: value.encode("latin-1").decode("utf-8") for name, value in path.items()}
    except UnicodeError:
        return dict(path)


def _no_route(error: bottle.HTTPError, request: Request) -> Answer:
    shown = request.environ["PATH_INFO"][:200]
    if error.status_code == 405:
        allowed = ", ".join(str(error.headers.get("Allow", "")).replace("GET", "GET,HEAD").split(","))
        raise errors.MethodNotAllowed(
            f"{request.environ['REQUEST_METHOD']} is not possible on {shown}; possible: {allowed}",
            details={"allow": allowed},
        )
    raise NotFound(f"there is nothing at {shown!r}; see {BASE}/openapi.json")


def _disabled(_: Request) -> Answer:
    raise errors.ForumDisabled("the forum is switched off: forum.enabled is false in the policy")


def _upgrade_required(_: Request) -> Answer:
    body = errors.body_of("upgrade_required", "this is a WebSocket: send an upgrade request", _correlation())
    return Answer(426, errors.encoded(body), (("Upgrade", "websocket"), ("Connection", "Upgrade")))


def _guarded(endpoint: Endpoint, request: Request) -> Answer:
    try:
        return endpoint(request)
    except Refusal:
        raise  # the server answers what is wrong below the level of requests
    except MetawsmError as error:
        return answer_of(error)
    except Exception:
        correlation = _correlation()
        log.exception(
            "bug while answering %s %s [%s]",
            request.environ["REQUEST_METHOD"],
            request.environ["PATH_INFO"],
            correlation,
        )
        told = "this is a fault of the program; the daemon's log has more under the correlation_id"
        return Answer(500, errors.encoded(errors.body_of("internal", told, correlation)))


def answer_of(error: MetawsmError) -> Answer:
    """The answer of an error that stopped a request."""
    status = errors.status_of(error.code)
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Unavailable):
        headers = (("Retry-After", errors.RETRY_AFTER),)
    elif status == 401:
        headers = (("WWW-Authenticate", 'Bearer realm="metawsm"'),)
    elif status == 405:
        headers = (("Allow", str(error.details.get("allow", ""))),)
    correlation = (
        str(error.details.get("command_id") or _correlation()) if isinstance(error, OutcomeUnknown) else _correlation()
    )
    return Answer(
        status,
        errors.encoded(errors.body_of(error.code, error.message, correlation, error.fields, error.details)),
        headers,
    )


def server_error_body(status: int, code: str, message: str) -> bytes:
    """The JSON of errors that the HTTP server itself answers."""
    return errors.encoded(errors.body_of(code, message, _correlation()))


def _correlation() -> str:
    return uuid.uuid4().hex


def _send(answer: Answer, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = answer.encoded()
    start_response(answer.line, answer.head(len(body)))
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]
