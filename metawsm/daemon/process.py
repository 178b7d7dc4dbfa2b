"""The running daemon: opens what it needs, starts the loops, waits for a signal, ends in order."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import time
from contextlib import ExitStack

import gevent
from gevent.event import Event

from metawsm.api.http_server import HttpServer, check_address
from metawsm.bus.receive import Identity
from metawsm.daemon.backups import Backups
from metawsm.daemon.bootstrap import Core, build
from metawsm.daemon.identity import new_id
from metawsm.daemon.options import Options
from metawsm.daemon.read_models import now
from metawsm.daemon.rebuilding import Rebuilding
from metawsm.daemon.redis_side import RedisSide
from metawsm.daemon.relay import Relay
from metawsm.daemon.state_folder import keep_out_of_git
from metawsm.daemon.supervisor import Supervisor
from metawsm.daemon.surroundings import url_of
from metawsm.daemon.systemd import Notifier
from metawsm.daemon.ticker import Ticker
from metawsm.daemon.token import read_or_create
from metawsm.daemon.waiting import QUEUED
from metawsm.daemon.web import http_server
from metawsm.domain.errors import Refused
from metawsm.storage import lock as instance_lock
from metawsm.storage import meta
from metawsm.storage.choose import make_writer
from metawsm.storage.connection import Connection, open_writer, tune_sqlite
from metawsm.storage.errors import translated
from metawsm.storage.group_writer import GroupWriter
from metawsm.storage.inspection import is_held
from metawsm.storage.maintenance import Maintenance
from metawsm.storage.migrations import migrate
from metawsm.storage.readers import Readers
from metawsm.storage.schema_steps import STEPS

ATTEMPT_SECONDS = 1.0  # that the first connection to Redis may take before requests are taken without it
WAITING_SECONDS = 1.0  # that requests may still wait for their outcome when the daemon stops; then they get 202
FILES = 4096  # open files: connections, and some hundred besides
# New objects until the collector looks at them (Python's own: 700). A batch makes thousands, and frees them itself.
YOUNG = (10_000, 10, 10)
log = logging.getLogger("metawsm")


class Process:
    """One daemon. `run` returns after an orderly end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop = Event()
        self._fatal: Refused | None = None
        self._supervisor = Supervisor()
        self._notifier = Notifier.of(os.environ)
        self._started_at = now()

    def run(self) -> None:
        """Start, serve, stop. Raises what keeps the daemon from starting."""
        _log_to_stderr()
        _allow_many_files()
        tune_sqlite()
        for warning in self._options.loaded.warnings:
            log.warning("%s", warning)
        with ExitStack() as open_parts:
            self._start(open_parts)
            self._stop.wait()
            log.info("stopping")
            self._notifier.stopping()
        log.info("stopped")
        if self._fatal is not None:
            raise self._fatal

    def _start(self, parts: ExitStack) -> None:
        gevent.signal_handler(signal.SIGTERM, self._stop.set)
        gevent.signal_handler(signal.SIGINT, self._stop.set)
        self._look_at_the_port()
        lock = self._lock(parts)
        backups = Backups(self._options.loaded.policy, self._options.database)
        parts.callback(backups.close)
        writer, identity = self._database(parts, backups)
        keep_out_of_git(self._options.folder)
        readers = Readers(self._options.database)
        parts.callback(readers.close)
        policy = self._options.loaded.policy
        redis = RedisSide(policy, self._options.folder, self._options.database, identity, new_id("inst"))
        parts.callback(redis.close)
        core = self._core(identity, writer, readers, redis)
        rebuilding = Rebuilding(writer, core.letters, core.subscriptions[-1])
        rebuilding.bring_up_to_date(self._stop.is_set)
        if self._stop.is_set():
            return
        server = self._web(core, rebuilding, backups)
        self._loops(core, rebuilding, parts)
        parts.callback(core.relay.finish)
        self._await_first_attempt(core.relay)
        if self._stop.is_set():
            return
        server.start()
        parts.callback(server.stop, self._options.shutdown_timeout)
        parts.callback(gevent.spawn_later, WAITING_SECONDS, core.waiting.release_all, QUEUED)
        self._runs(core, server.address)
        parts.callback(core.runs.worker.end)
        lock.note(self._holder(server.address))
        self._announce(server.address)

    def _look_at_the_port(self) -> None:
        """A start that must fail leaves nothing behind; a daemon of this database is told by its lock, which says more.

        The server listens only when all is ready, and looks again then.
        """
        if not is_held(self._options.database):
            check_address(self._options.address)

    def _await_first_attempt(self, relay: Relay) -> None:
        """Who is told that the daemon serves finds Redis connected, if it can be, and the namespace ours."""
        until = time.monotonic() + ATTEMPT_SECONDS
        while relay.starting and not self._stop.is_set() and time.monotonic() < until:
            gevent.sleep(0.005)

    def _core(self, identity: Identity, writer: GroupWriter, readers: Readers, redis: RedisSide) -> Core:
        return build(self._options, identity, writer, readers, redis)

    def _lock(self, parts: ExitStack) -> instance_lock.InstanceLock:
        lock = instance_lock.acquire(self._options.database, self._holder(self._options.address))
        parts.callback(lock.release)
        return lock

    def _holder(self, address: tuple[str, int]) -> instance_lock.Holder:
        return instance_lock.Holder(os.getpid(), f"{address[0]}:{address[1]}", self._started_at)

    def _database(self, parts: ExitStack, backups: Backups) -> tuple[GroupWriter, Identity]:
        connection = open_writer(self._options.database)
        for version in migrate(connection, STEPS, backups.before_migration):
            log.info("database brought to schema version %d", version)
        writer = self._writer(connection)
        parts.callback(writer.close)
        maintenance = Maintenance(writer)
        with translated(str(self._options.database)):
            maintenance.extend()
        parts.callback(maintenance.close)
        fresh = new_id("db")
        return writer, writer.run(lambda db: meta.identify(db, fresh))

    def _writer(self, connection: Connection) -> GroupWriter:
        return make_writer(self._options.database, connection=connection)

    def _web(self, core: Core, rebuilding: Rebuilding, backups: Backups) -> HttpServer:
        token = read_or_create(self._options.folder / "token")
        return http_server(core, token, self._started_at, self._supervisor, rebuilding, backups)

    def _loops(self, core: Core, rebuilding: Rebuilding, parts: ExitStack) -> None:
        start = self._supervisor.start
        start("relay", lambda: self._relay(core))
        start("listener", core.relay.listen)
        start("lease", core.redis.renew)
        start("ticker", Ticker(core).run)
        start("rebuild", rebuilding.run)
        if self._notifier.watchdog_seconds:
            start("watchdog", self._watch)
        parts.callback(self._supervisor.stop)

    def _runs(self, core: Core, address: tuple[str, int]) -> None:
        """Agents are started and looked at only when they can reach us."""
        runs, health, start = core.runs, self._options.loaded.policy.health, self._supervisor.start
        runs.begin(url_of(address))
        start("jobs", runs.worker.run)
        start("agent_sessions", lambda: runs.watch.sessions(health.check_seconds))
        start("agent_checkouts", lambda: runs.watch.checkouts(health.progress_check_seconds, health.check_seconds))

    def _relay(self, core: Core) -> None:
        """A namespace of another database stops a daemon that has just started; later it only degrades it."""
        try:
            core.relay.run()
        except Refused as error:
            self._fatal = error
            self._stop.set()

    def _watch(self) -> None:
        while True:
            self._notifier.alive()
            gevent.sleep((self._notifier.watchdog_seconds or 10.0) / 3)

    def _announce(self, address: tuple[str, int]) -> None:
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked at again
        gc.set_threshold(*YOUNG)
        where = f"http://{address[0]}:{address[1]}"
        log.info("serving %s, database %s, token %s", where, self._options.database, self._options.folder / "token")
        self._notifier.ready(f"serving {where}")


def _allow_many_files() -> None:
    """Connections are files: the usual soft limit of 1,024 is below what the server may hold open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(FILES, hard) if hard != resource.RLIM_INFINITY else FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
