"""The core of runs over a real database file, without transport: what is accepted is handled when the test says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gevent

from metawsm.bus.catalogue import Catalogue
from metawsm.bus.dispatch import CommandRow, Dispatcher, Handled, Outcome
from metawsm.bus.internal import Internal
from metawsm.bus.ports import Db, Delivery, Message
from metawsm.bus.reactions import Reactor, SubscriberSpec
from metawsm.bus.receive import DeadLetter, Identity, Receiver
from metawsm.bus.submit import Accepted, Submitter
from metawsm.bus.work import Queued, Tools
from metawsm.commands import ALL as COMMANDS
from metawsm.daemon.reaction_loop import ReactionLoop
from metawsm.daemon.read_models import now
from metawsm.domain.envelope import Actor
from metawsm.domain.run import Run
from metawsm.messages.topics import Topics
from metawsm.storage.choose import make_writer
from metawsm.storage.connection import Connection, open_writer
from metawsm.storage.dead_letters import DeadLetterTable
from metawsm.storage.errors import translate
from metawsm.storage.event_log import EventLog
from metawsm.storage.forum_store import ControlThreadTable, ForumStore
from metawsm.storage.idempotency import IdempotencyKeys
from metawsm.storage.jobs_table import JobTable
from metawsm.storage.migrations import migrate
from metawsm.storage.outbox import Outbox
from metawsm.storage.reads import save_seen
from metawsm.storage.rebuild import prepare
from metawsm.storage.run_rows import find_run
from metawsm.storage.schema_steps import STEPS
from metawsm.storage.subscriber_cursors import SubscriberCursors
from metawsm.subscribers import ALL as SUBSCRIBERS
from tests.support.read_side import new_id
from tests.support.run_settings import SETTINGS
from tests.support.run_story import result_of

T = TypeVar("T")
_OLDEST = "SELECT message_key, id FROM forum_outbox WHERE kind = 'command' AND status = 'pending' ORDER BY id LIMIT 1"
OPERATOR, AGENT = Actor("operator", "op", "token"), Actor("agent", "agent", "loopback")
START: dict[str, Any] = {"tickets": ["MET-1"], "repos": ["app"], "run_id": "run-7"}


def until(probe: Callable[[], T], seconds: float = 5.0) -> T:
    """Let other greenlets run until the probe gives something true; return that."""
    with gevent.Timeout(seconds, AssertionError(f"still not true after {seconds} s")):
        while not (value := probe()):
            gevent.sleep(0.002)
    return value


class RunLab:
    """One process over `folder/db`; `boot` and `epoch` tell it from others. Close it before the next begins.

    While it is `silent` reactions do not hear of events: as if the process ended before they had their turn.
    """

    def __init__(
        self,
        folder: Path,
        *,
        boot: str = "boot-1",
        epoch: int = 1,
        trusted: bool = False,
        reactions: Sequence[SubscriberSpec] = SUBSCRIBERS,
    ) -> None:
        self.connection = open_writer(folder / "db")
        migrate(self.connection, STEPS)
        prepare(self.connection, now())
        self.writer = make_writer(folder / "db", kind="hub", connection=self.connection)
        self._reader = Connection(str(folder / "db"))
        self.jobs = JobTable(boot, epoch)
        self.outbox, self.letters, topics = Outbox(), DeadLetterTable(), Topics()
        store, controls = ForumStore(EventLog(topics), save_seen, self.jobs), ControlThreadTable()
        self.tools = Tools(now, new_id, 30, SETTINGS)
        self.catalogue = Catalogue.of(COMMANDS)
        self.internal = Internal(self.catalogue, self.outbox, store, controls, self.tools, topics)
        self.submitter = Submitter(self.outbox, IdempotencyKeys(), store, controls, self.tools, topics)
        self.receiver = Receiver(
            self.catalogue, self.outbox, self.letters, store, controls, self.tools, topics, Identity("db-1", epoch)
        )
        self.dispatcher = Dispatcher(self.catalogue, self.outbox, store, self.tools, trusted)
        self.sent: list[Queued] = []
        self.job_prompts = 0
        self.silent = False
        cursors = SubscriberCursors()
        self.reactors = {
            spec.name: Reactor(spec, self.internal, cursors, lambda error: translate(error, "") is not error)
            for spec in reactions
        }
        self.loops = [self._loop(reactor) for reactor in self.reactors.values()]
        for loop in self.loops:
            loop.note_position()

    def _loop(self, reactor: Reactor) -> ReactionLoop:
        return ReactionLoop(
            self.writer, reactor, self.letters, "metawsm-forum", "metawsm-forum", now, self.sent.extend, self._jobs
        )

    def _jobs(self) -> None:
        self.job_prompts += 1

    def close(self) -> None:
        """End this process; what it had begun stays as it is."""
        self.writer.close()
        self._reader.close()

    def read(self, query: Callable[[Db], T]) -> T:
        """A short query that sees the newest commit."""
        return query(self._reader)

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        return list(self._reader.execute(sql, args))

    def run(self, run_id: str = "run-7") -> Run:
        """A run."""
        found = self.read(lambda db: find_run(db, run_id))
        assert found is not None
        return found

    def submit(
        self,
        name: str,
        body: Mapping[str, Any],
        subject: str | None = None,
        by: Actor = OPERATOR,
        key: str | None = None,
    ) -> Accepted:
        """Accept a command as the API does."""
        spec = self.catalogue.named(name)
        prepared = self.submitter.prepare(spec, body, subject, by, f"{by.type} {name}", key)
        return self.writer.run(lambda db: self.submitter.accept(db, prepared))

    def do(self, name: str, subject: str | None = None, by: Actor = OPERATOR, **body: Any) -> Outcome:
        """Accept a command and handle everything up to it; what came of it."""
        accepted = self.submit(name, body, subject, by)
        return next(each.outcome for each in self.pump() if each.row.message_id == accepted.command_id)

    def receive(self, name: str, body: Mapping[str, Any], entry: str = "1-0", **head: Any) -> CommandRow | DeadLetter:
        """A command of another program, as it is read from its stream; it is stored, not handled."""
        command = {"envelope": {"event_type": f"forum.commands.{name}", **head}, "payload": body}
        message = Message(f"uuid-{entry}", {}, json.dumps(command).encode())
        delivery = Delivery(f"forum.commands.{name}", "metawsm-forum", entry, message)
        taken = self.writer.run(lambda db: self.receiver.receive(db, delivery))
        assert taken is not None
        return taken

    def tell(self, name: str, command_id: str, **body: Any) -> Queued | None:
        """A command of the program to itself; it is stored, not handled."""
        return self.writer.run(lambda db: self.internal.insert(db, name, body, command_id))

    def end_step(self, state: str = "done", run_id: str = "run-7", **result: Any) -> None:
        """The step under way ends, as its job would tell."""
        run = self.run(run_id)
        step = run.busy
        assert step is not None
        told = result or result_of(step, run) if state == "done" else None
        more = {"result": told} if told else {} if state == "done" else {"error": "no luck"}
        self.tell("record_step", f"job:step:{run_id}:{step.index}", run_id=run_id, step=step.index, state=state,
                  attempts=1, **more)  # fmt: skip
        self.settle()

    def started(self, **body: Any) -> Run:
        """A run whose steps have all been done."""
        outcome = self.do("start_run", **{**START, **body})
        assert outcome.kind == "applied", outcome
        run_id = str(outcome.body and outcome.body["run"]["run_id"])
        while self.run(run_id).busy is not None:
            self.end_step(run_id=run_id)
        return self.run(run_id)

    def pump(self) -> list[Handled]:
        """Handle every accepted command, the oldest first, and tell the reactions of its events."""
        done: list[Handled] = []
        while heads := self.rows(_OLDEST):
            key, row_id = heads[0]
            done.append(self.writer.run(partial(self._handle, key=key, upto=row_id)))
            names = {queued.name for queued in done[-1].queued}
            for loop in () if self.silent else self.loops:
                if names & loop.types:
                    loop.prompt()
        return done

    def _handle(self, db: Db, key: str, upto: int) -> Handled:
        first = self.outbox.first_undone(db, key, upto)
        assert first is not None
        return self.dispatcher.execute(db, self.outbox.read(db, first))

    def settle(self) -> None:
        """Handle commands and let reactions come to the end of the log, until nothing is left of either."""
        self.silent = False
        for loop in self.loops:
            loop.prompt()
        until(self._settled)

    def _settled(self) -> bool:
        self.pump()
        return self.at_rest()

    def at_rest(self) -> bool:
        """Whether every reaction is at the end of the log, and no command waits."""
        behind = self.rows(
            "SELECT 1 FROM subscriber_cursors WHERE sequence < (SELECT max(sequence) FROM forum_events)"
            " AND subscriber IN (SELECT value FROM json_each(?))",
            json.dumps(list(self.reactors)),
        )
        if behind:
            for loop in self.loops:
                loop.prompt()
        return not behind and not self.read(self.outbox.undone)
