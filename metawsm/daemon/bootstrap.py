"""The composition root: every part is made here and handed to those that need it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import gevent
from attrs import define

from metawsm.bus.catalogue import Catalogue
from metawsm.bus.dispatch import CommandRow, Dispatcher, Handled, Outcome
from metawsm.bus.fresh import Fresh, FreshEvents
from metawsm.bus.internal import Internal
from metawsm.bus.ports import Delivery, Subscription
from metawsm.bus.projecting import position
from metawsm.bus.receive import Identity, Receiver
from metawsm.bus.replay import Replayer
from metawsm.bus.specs import CommandSpec
from metawsm.bus.submit import Submitter
from metawsm.bus.work import Queued, Tools
from metawsm.commands import ALL as COMMANDS
from metawsm.daemon.backlog import Backlog
from metawsm.daemon.command_path import CommandPath
from metawsm.daemon.identity import new_id
from metawsm.daemon.imported import PassedOver
from metawsm.daemon.lanes import Lanes
from metawsm.daemon.options import Options
from metawsm.daemon.projection_loop import ProjectionLoop
from metawsm.daemon.publishing import publications
from metawsm.daemon.read_models import ago, now
from metawsm.daemon.redis_side import RedisSide
from metawsm.daemon.refill import Refill
from metawsm.daemon.relay import Relay
from metawsm.daemon.restored import continue_above_feed
from metawsm.daemon.run_settings import settings_of
from metawsm.daemon.runs_side import RunsSide, reactors_of, runs_side
from metawsm.daemon.surroundings import Place, job_tools
from metawsm.daemon.tail import Tail, TailEvent
from metawsm.daemon.waiting import QUEUED, Waiting
from metawsm.domain.errors import MetawsmError, Unavailable
from metawsm.domain.events import ALL as FACTS
from metawsm.messages.topics import Topics
from metawsm.policy import Policy
from metawsm.storage import log_reads
from metawsm.storage.dead_letters import DeadLetterTable
from metawsm.storage.errors import translate
from metawsm.storage.event_log import EventLog
from metawsm.storage.forum_store import ControlThreadTable, ForumStore
from metawsm.storage.go_import import imported_ms
from metawsm.storage.group_writer import GroupWriter
from metawsm.storage.idempotency import IdempotencyKeys
from metawsm.storage.jobs_table import JobTable
from metawsm.storage.outbox import Outbox
from metawsm.storage.readers import Readers
from metawsm.storage.reads import save_seen
from metawsm.storage.rebuild import make_projector

TAIL_EVENTS, TAIL_CHARS = 500, 1024 * 1024  # handed to live readers at once: the log is read on the hub
log = logging.getLogger("metawsm.relay")


@define(eq=False)
class Core:
    """The parts of a running daemon that its loops and its API share."""

    options: Options
    policy: Policy
    topics: Topics
    identity: Identity
    writer: GroupWriter
    readers: Readers
    outbox: Outbox
    letters: DeadLetterTable
    catalogue: Catalogue
    waiting: Waiting
    commands: CommandPath
    lanes: Lanes
    projections: ProjectionLoop
    tail: Tail
    relay: Relay
    redis: RedisSide
    subscriptions: tuple[Subscription, ...]
    replayer: Replayer
    translate: Callable[[Exception], MetawsmError | None]
    runs: RunsSide


def topics_of(policy: Policy) -> Topics:
    """The topics as the policy names them."""
    forum = policy.forum
    prefixes = forum.topics
    return Topics(prefixes.command_prefix, prefixes.event_prefix, prefixes.integration_prefix, forum.redis.stream)


def build(
    options: Options,
    identity: Identity,
    writer: GroupWriter,
    readers: Readers,
    redis: RedisSide,
    commands: Sequence[CommandSpec] = COMMANDS,
) -> Core:
    """Make every part over an open, migrated database."""
    return _Builder(options, identity, writer, readers, redis, commands).core()


class _Builder:
    """Makes the parts in the order of their dependence; callbacks reach parts that are made later through `self`."""

    def __init__(
        self,
        options: Options,
        identity: Identity,
        writer: GroupWriter,
        readers: Readers,
        redis: RedisSide,
        commands: Sequence[CommandSpec],
    ) -> None:
        self.options, self.policy = options, options.loaded.policy
        self.identity, self.writer, self.readers, self.redis = identity, writer, readers, redis
        self.topics = topics_of(self.policy)
        self.event_topics = list(dict.fromkeys(self.topics.event(fact.TYPE) for fact in FACTS))
        self.catalogue = Catalogue.of(commands)
        self.outbox, self.letters = Outbox(), DeadLetterTable()
        self.controls = ControlThreadTable()
        self.jobs = JobTable(new_id("boot"), identity.epoch)
        self.events = FreshEvents()
        self.store = ForumStore(EventLog(self.topics, self.events), save_seen, self.jobs)
        settings = settings_of(self.policy, options.folder)
        self.tools = Tools(now, new_id, self.policy.forum.sla.escalation_minutes, settings)
        self.internal = Internal(self.catalogue, self.outbox, self.store, self.controls, self.tools, self.topics)
        self.reactors = reactors_of(self.internal)
        self.waiting = Waiting()
        self.telling = False
        self.fresh = Fresh()
        self.translate = partial(_translated, database=str(options.database))
        self.commands_group = [
            Subscription(self.topics.command(spec.name), self.policy.forum.redis.group) for spec in self.catalogue.specs
        ]
        self.feed = Subscription(
            self.topics.feed, f"{self.policy.forum.redis.group}.projections", noack=True, blind=True
        )

    def core(self) -> Core:
        head = self.readers.query(position)
        self.waiting.projected = head
        self.tail = Tail(self._tail_events, head)
        self.lanes = self._lanes()
        self.passed_over = PassedOver(self.readers.query(imported_ms), self.lanes.deliver, self._ack)
        self.projections = self._projections()
        self.relay = self._relay()
        self.commands = self._commands()
        self.runs = self._runs()
        self.runs.note_positions()
        return Core(
            self.options, self.policy, self.topics, self.identity, self.writer, self.readers, self.outbox, self.letters,
            self.catalogue, self.waiting, self.commands, self.lanes, self.projections, self.tail, self.relay,
            self.redis, (*self.commands_group, self.feed), self.replayer, self.translate, self.runs,
        )  # fmt: skip

    def _lanes(self) -> Lanes:
        receiver = Receiver(
            self.catalogue,
            self.outbox,
            self.letters,
            self.store,
            self.controls,
            self.tools,
            self.topics,
            self.identity,
            self.fresh,
        )
        self.replayer = Replayer(receiver, self.outbox, self.letters, self.tools, self.reactors)
        trusted = self.policy.forum.redis.trusted_publishers
        dispatcher = Dispatcher(self.catalogue, self.outbox, self.store, self.tools, trusted, self.fresh)
        return Lanes(
            self.writer,
            receiver,
            dispatcher,
            self.letters,
            self.translate,
            on_handled=self._handled,
            on_failed=self._failed,
            ack=self._ack,
            on_doubt=self._look_again,
        )

    def _handled(self, handled: Handled) -> None:
        for row in handled.queued:
            if row.event is not None:
                head = row.event.envelope
                self.tail.tell(TailEvent(row.event.sequence, head.ticket, head.run_id, head.thread_id, row.text))
        self.commands.handled(handled)
        self.runs.handled(handled)

    def _failed(self, command_id: str, outcome: Outcome) -> None:
        self.commands.failed(command_id, outcome)

    def _ack(self, delivery: Delivery) -> None:
        self.relay.ack(delivery)

    def _projections(self) -> ProjectionLoop:
        group, feed = self.feed.group, self.topics.feed
        projector = make_projector(fresh=self.events)
        return ProjectionLoop(self.writer, projector, self.letters, group, feed, now, self._applied)

    def _applied(self, sequence: int) -> None:
        self.waiting.projected_to(sequence)
        self._tell_listeners()

    def _tell_listeners(self) -> None:
        """Hand out a portion; what is left, or cannot be read now, is told later: nobody else would tell of it."""
        pause = 0.0
        try:
            self.tail.advance(self.waiting.projected)
        except Unavailable:
            pause = 0.5
        if self.tail.head < self.waiting.projected and not self.telling:
            self.telling = True
            gevent.spawn_later(pause, self._tell_again)

    def _tell_again(self) -> None:
        self.telling = False
        self._tell_listeners()

    def _look_again(self) -> None:
        """A commit's fate is not known: whatever it stored is found in the tables."""
        self.relay.reread()
        self.projections.prompt()
        self.runs.look_again()

    def _relay(self) -> Relay:
        messages = partial(publications, feed=self.topics.feed, identity=self.identity)
        transport = self.redis.transport
        refill = Refill(
            transport,
            self.topics.feed,
            self._refill_start,
            lambda: self.readers.query(log_reads.published),
            self._refill_rows,
            messages,
            self._empty,
        )
        relay = Relay(
            transport,
            self.writer,
            self.outbox,
            Backlog(lambda *place: self._outbox_rows(refill, *place)),
            self.identity,
            self.commands_group,
            self.feed,
            now,
            deliver=self.passed_over.deliver,
            prompt=self.projections.prompt,
            applied=lambda: self.waiting.projected,
            in_flight=lambda: self.lanes.in_flight,
            refill=refill,
            on_connect=lambda: self._connect(refill),
            on_lost=lambda _: self.waiting.release_all(QUEUED),
            on_recreated=lambda created: self._recreated(refill, created),
            catch_up=self._redeliver_all,
        )
        self.redis.on_recreated, self.redis.on_lost = relay.recreated, relay.drop
        return relay

    def _commands(self) -> CommandPath:
        submitter = Submitter(
            self.outbox, IdempotencyKeys(), self.store, self.controls, self.tools, self.topics, self.fresh
        )
        return CommandPath(
            self.writer,
            submitter,
            self.waiting,
            self.relay.publish,
            lambda: self.relay.hopeful,
            self._look_again,
            self.policy.forum.limits.outbox,
        )

    def _runs(self) -> RunsSide:
        place = Place()
        return runs_side(
            self.policy,
            self.writer,
            self.readers.query,
            self.jobs,
            self.internal,
            self.reactors,
            self.letters,
            job_tools(self.options, self.readers.query, place),
            place,
            self.topics.feed,
            self.commands.sent,
        )

    def _connect(self, refill: Refill) -> None:
        """Before anything is published on a new connection: lease, groups, lost entries, own pending entries."""
        created = self._prepare()
        continue_above_feed(self.writer, self.readers, self.redis.transport, self.topics.feed, self.event_topics)
        self._mend(refill, created)
        self._redeliver_all()
        self._repeat()
        self.projections.prompt()

    def _prepare(self) -> Sequence[Subscription]:
        """The namespace is ours and every stream and group is there; return the groups that were not."""
        self.redis.prepare()
        created = self.redis.transport.ensure([*self.commands_group, self.feed])
        self.redis.transport.ensure_streams(self.event_topics)
        return created

    def _recreated(self, refill: Refill, created: Sequence[Subscription]) -> None:
        """Streams or groups had gone: what was in them is published again."""
        log.warning("made again in Redis: %s", ", ".join(f"{each.topic} ({each.group})" for each in created))
        self._mend(refill, [*created, *self._prepare()])
        self._repeat()

    def _repeat(self) -> None:
        self.writer.run(lambda db: None)  # a row is marked as sent a little later: not before that is it found
        self.relay.repeat_sent(self.readers.query(self.outbox.last_id))

    def _mend(self, refill: Refill, created: Sequence[Subscription]) -> None:
        """Fill the feed again if its group was gone, if it ends before what had been published, or is not ours."""
        feed = self.topics.feed
        if feed in getattr(self.redis.transport, "sick_topics", ()):
            return
        last, _, _ = self.redis.transport.last_entry_id(feed).partition("-")
        feed_was_gone = any(each.topic == feed for each in created)
        if owner := self._stranger_on_feed():
            log.warning("the feed %s holds events of database %s; it and the event topics are filled anew", feed, owner)
            # Readers begin anew, they have seen none of ours. The feed comes last: it tells whether all is done.
            self._empty([*self.event_topics, feed], "0-0")
            refill.begin(surely=True)
        elif feed_was_gone or int(last) < self.readers.query(log_reads.published):
            refill.begin()

    def _stranger_on_feed(self) -> str:
        """The other database whose event the feed ends with: the namespace was its before, and was given to us."""
        message = self.redis.transport.last_message(self.topics.feed)
        database, slash, _ = message.metadata.get("origin", "").partition("/") if message else ("", "", "")
        return database if slash and database != self.identity.database_id else ""

    def _empty(self, topics: Sequence[str], newest: str) -> None:
        self.redis.prepare()  # nothing is deleted that is another's by now
        self.redis.transport.empty(topics, newest)
        self._prepare()

    def _redeliver_all(self) -> None:
        for subscription in self.commands_group:
            self._redeliver(subscription)

    def _redeliver(self, subscription: Subscription) -> None:
        after = "0"
        while entries := self.redis.transport.pending(subscription, after):
            for delivery in entries:
                self.passed_over.deliver(delivery)
            after = entries[-1].entry_id

    def _outbox_rows(self, refill: Refill, status: str, after: int, upto: int, limit: int) -> list[Queued]:
        events = not refill.active  # the refill publishes them, in sequence order
        rows = self.readers.query(lambda db: self.outbox.queued(db, status, after, upto, limit, events))
        for row in rows:
            if row.written is not None:  # its delivery need not look it up again
                command = CommandRow(row.row_id, row.message_id, row.topic, row.key, row.text, status)
                self.fresh.keep(command, row.written)
        return rows

    def _refill_start(self) -> int:
        redis = self.policy.forum.redis
        since = ago(redis.retention_hours * 3600)
        return self.readers.query(lambda db: log_reads.before_window(db, since, redis.max_entries))

    def _refill_rows(self, after: int, limit: int) -> list[Queued]:
        return self.readers.query(lambda db: log_reads.to_publish(db, self.topics, after, limit))

    def _tail_events(self, after: int, upto: int) -> list[TailEvent]:
        portion = (after, upto, TAIL_EVENTS, TAIL_CHARS)
        return [TailEvent(*row) for row in self.readers.query(lambda db: log_reads.matching(db, *portion, {})[0])]


def _translated(error: Exception, database: str) -> MetawsmError | None:
    told = translate(error, database)
    return told if isinstance(told, MetawsmError) else None
