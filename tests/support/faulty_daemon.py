"""A real daemon with a fault built in: `python -m tests.support.faulty_daemon FAULT COUNT serve --addr A --redis URL`.

Everything is the product's; only the writer and the transport that its composition root is handed are decorated, and
one command is added whose handler has a bug. FAULT is one of:
- a point from POINTS: the process kills itself with SIGKILL when it comes there for the COUNTth time;
- `double`: every command entry is delivered twice; `flaky`: three of ten round trips and handler jobs fail;
- `full`: the writer's queue takes no dead letter of a handler, COUNT times;
- `slow disk`: nothing fails, but the writer is the one for disks whose commits take long;
- `none`: nothing but the command with the bug.
"""

from __future__ import annotations

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()

import argparse
import os
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import evolve, frozen

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.ports import Ack, Db, Delivery, Exchange, Outcome, Publication, Subscription
from metawsm.bus.receive import Identity
from metawsm.bus.specs import CommandSpec, Verb
from metawsm.bus.work import Work
from metawsm.commands import ALL as COMMANDS
from metawsm.daemon.bootstrap import Core, build
from metawsm.daemon.options import Options
from metawsm.daemon.process import Process
from metawsm.daemon.redis_side import RedisSide
from metawsm.domain import actions
from metawsm.domain.errors import Unavailable
from metawsm.policy import load
from metawsm.storage.choose import Kind, make_writer
from metawsm.storage.connection import Connection
from metawsm.storage.group_writer import GroupWriter
from metawsm.storage.readers import Readers
from metawsm.streams.transport import RedisTransport

POINTS = (
    "accepting",  # the command's row is written, not committed
    "accepted",  # committed, nobody has been told
    "publishing",  # about to publish a command
    "published",  # a command is in Redis, its row is not marked
    "handling",  # state, events and outcome are written, not committed
    "handled",  # committed, not acked, its events not published
    "publishing events",
    "published events",
    "projecting",  # a read model has been changed, not committed
    "projected",  # committed, nobody has been told
)
_JOBS = {"accept": ("accepting", "accepted"), "_take": ("handling", "handled"), "_apply": ("projecting", "projected")}
FAILING = 0.3


class Fault:
    """What goes wrong, and when."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self._left = count
        self._dice = random.Random(count)

    def reached(self, point: str) -> None:
        """Die here if it is time to."""
        if point == self.name:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def refuse(self, job: str) -> None:
        """Have no room for a dead letter, if this is that kind of fault, so many times."""
        if self.name == "full" and job == "_bury" and self._left > 0:
            self._left -= 1
            raise Unavailable("the queue is full")

    def maybe_fail(self, what: str) -> None:
        """Fail now and then, if this is that kind of fault."""
        if self.name == "flaky" and self._dice.random() < FAILING:
            raise Unavailable(f"{what} fails at random")


class FaultyWriter:
    """A writer whose jobs pass the named points."""

    def __init__(self, writer: GroupWriter, fault: Fault) -> None:
        self._writer = writer
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def enqueue(self, job: Callable[[Db], Any], done: Callable[[Outcome], None]) -> None:
        """As the writer's own."""
        name = getattr(job, "func", job).__name__
        self._fault.refuse(name)
        before, after = _JOBS.get(name, ("", ""))

        def run(db: Db) -> Any:
            if before == "handling":
                self._fault.maybe_fail("a handler's transaction")
            value = job(db)
            self._fault.reached(before)
            return value

        def told(outcome: Outcome) -> None:
            self._fault.reached(after)
            done(outcome)

        self._writer.enqueue(run, told)


class FaultyTransport(RedisTransport):
    """The real transport, passing the named points."""

    fault: Fault

    def exchange(
        self, publications: Sequence[Publication], acks: Sequence[Ack], reads: Sequence[Subscription]
    ) -> Exchange:
        """As the transport's own."""
        commands = any(p.entry_id == "*" for p in publications)
        events = any(p.entry_id != "*" for p in publications)
        self._pass("publishing", commands, events)
        exchange = super().exchange(publications, acks, reads)
        self._pass("published", commands, events)
        if publications:
            self.fault.maybe_fail("the answer of a round trip")
        return Exchange(exchange.faults, self._repeated(exchange.deliveries))

    def _pass(self, point: str, commands: bool, events: bool) -> None:
        if commands:
            self.fault.reached(point)
        if events:
            self.fault.reached(f"{point} events")

    def _repeated(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        if self.fault.name != "double":
            return deliveries
        return [each for one in deliveries for each in (one, evolve(one, entry_id=f"{one.entry_id}0"))]


@frozen
class BreakThread:
    """A command whose handler fails until the file named by `until` exists."""

    thread_id: str = fields.in_path("the thread")
    until: str = fields.text("a file", required=True)


def _break(work: Work, message: BreakThread) -> Mapping[str, Any]:
    thread = work.record(work.thread(message.thread_id), actions.post(work.thread(message.thread_id), work.actor, "?"))
    if not os.path.exists(message.until):
        raise ZeroDivisionError("a bug in a handler")
    return {"thread": work.view(thread)}


BREAK = CommandSpec(
    name="break_thread",
    message=BreakThread,
    summary="A command with a bug",
    path="/forum/threads/{thread_id}/break",
    key=existing_thread,
    handle=_break,
    verb=Verb("break", "Break.", (), actor="agent"),
)


class FaultyProcess(Process):
    """The daemon, with the decorated parts."""

    def __init__(self, options: Options, fault: Fault) -> None:
        super().__init__(options)
        self._fault = fault

    def _writer(self, connection: Connection) -> GroupWriter:
        kind: Kind = "thread" if self._fault.name == "slow disk" else "auto"
        return make_writer(self._options.database, kind=kind, connection=connection)

    def _core(self, identity: Identity, writer: GroupWriter, readers: Readers, redis: RedisSide) -> Core:
        transport = FaultyTransport(redis.url, "operator", redis.recreated, redis.fence)
        transport.fault = self._fault
        redis.transport = transport
        faulty = cast(GroupWriter, FaultyWriter(writer, self._fault))
        return build(self._options, identity, faulty, readers, redis, (*COMMANDS, BREAK))


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("fault")
    parser.add_argument("count", type=int)
    parser.add_argument("serve")
    parser.add_argument("--addr")
    parser.add_argument("--redis")
    given = parser.parse_args()
    host, _, port = given.addr.rpartition(":")
    loaded = load(None, os.environ, {"forum.redis.url": given.redis})
    options = Options((host, int(port)), Path(".metawsm/metawsm.db"), loaded, 5.0)
    FaultyProcess(options, Fault(given.fault, given.count)).run()


if __name__ == "__main__":
    main()
