"""The HTTP side: application and server over the core."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from metawsm.api.access import Access
from metawsm.api.app import Application, server_error_body
from metawsm.api.backups import BackupPort
from metawsm.api.dead_letters import DeadLetterPages, LetterReads
from metawsm.api.feed import FRAME_CHARS, Feed, Filter
from metawsm.api.http_server import HttpServer
from metawsm.api.queries import Queries
from metawsm.api.runs import RunPages
from metawsm.api.writes import Writes
from metawsm.bus.ports import Db
from metawsm.daemon.bootstrap import Core
from metawsm.daemon.facts import Facts
from metawsm.daemon.pages import RebuildPort, pages
from metawsm.daemon.read_models import ago, now, read_models
from metawsm.daemon.replaying import Replaying
from metawsm.daemon.run_facts import RunFacts
from metawsm.daemon.run_settings import operator_limits
from metawsm.daemon.supervisor import Supervisor
from metawsm.daemon.tail import TailEvent
from metawsm.storage import letter_pages, log_reads, run_pages


def http_server(
    core: Core, token: str, started_at: str, supervisor: Supervisor, rebuild: RebuildPort, backups: BackupPort
) -> HttpServer:
    """The server, not yet started; the stream's broadcaster joins the supervisor's loops."""
    policy = core.policy
    access = Access(token, policy.auth.loopback)
    feed = Feed(core.tail, _load(core), lambda: core.readers.query(log_reads.head), access, now, core.identity.epoch)
    supervisor.start("broadcaster", feed.run)
    models = read_models(policy.forum.sla.escalation_minutes, core.outbox)
    queries = Queries(models, core.readers.query)
    holder: list[HttpServer] = []
    facts = _facts(core, started_at, supervisor, feed, holder)
    letters = _letters(core, access, rebuild)
    made = pages(core.catalogue, core.topics, facts, rebuild, letters, backups, _runs(core))
    app = Application(core.catalogue, access, Writes(access, core.commands), queries, feed, made, policy.forum.enabled)
    holder.append(HttpServer(core.options.address, app, error_body=server_error_body))
    return holder[0]


def _letters(core: Core, access: Access, rebuild: RebuildPort) -> DeadLetterPages:
    def whole(db: Db, letter_id: int) -> dict[str, Any] | None:
        letter = core.letters.find(db, letter_id)
        return None if letter is None else letter_pages.whole_letter(letter)

    reads = LetterReads(
        letter_pages.letters_page,
        letter_pages.count_letters,
        letter_pages.letter_ids,
        letter_pages.newest_letter,
        whole,
        core.outbox.find,
    )
    acts = Replaying(core.writer, core.replayer, core.commands, core.translate, rebuild.begin, core.runs.worker.prompt)
    return DeadLetterPages(access, reads, acts, core.readers.slow)


def _runs(core: Core) -> RunPages:
    minutes, limits = core.policy.forum.sla.escalation_minutes, operator_limits(core.policy)
    stale = core.policy.docs.stale_warning_seconds

    def detail(db: Db, run_id: str) -> dict[str, Any] | None:
        return run_pages.run_detail(
            db, run_id, escalation_minutes=minutes, limits=limits, stale=stale, now=now(), due=ago(minutes * 60)
        )

    return RunPages(core.readers.query, run_pages.runs_page, detail, core.runs.release)


def _facts(core: Core, started_at: str, supervisor: Supervisor, feed: Feed, holder: list[HttpServer]) -> Facts:
    def debug_rows(db: Db, query: dict[str, str], limit: int) -> dict[str, Any]:
        newest = {"outbox_messages": core.outbox.latest(db, limit), "jobs": core.runs.jobs.latest(db, limit)}
        return newest | log_reads.debug_rows(db, query, limit)

    return Facts(
        policy=core.policy,
        started_at=started_at,
        now=now,
        writer=core.writer,
        readers=core.readers,
        outbox=core.outbox,
        letters=core.letters,
        relay=core.relay,
        lanes=core.lanes,
        projections=core.projections,
        tail=core.tail,
        redis=core.redis,
        supervisor=supervisor,
        commands=core.commands,
        subscriptions=core.subscriptions,
        open_connections=lambda: holder[0].connections,
        open_streams=lambda: feed.subscribers,
        runs=RunFacts(core.runs, core.readers.query, now),
        debug_rows=debug_rows,
    )


def _load(core: Core) -> Any:
    def load(after: int, limit: int, wants: Filter) -> tuple[list[TailEvent], int]:
        page = (after, core.tail.head, limit, FRAME_CHARS, asdict(wants))
        rows, examined = core.readers.query(lambda db: log_reads.matching(db, *page))
        return [TailEvent(*row) for row in rows], examined

    return load
