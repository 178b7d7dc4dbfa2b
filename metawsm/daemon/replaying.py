"""Acts of people on dead letters: each a writer job; what takes a new position is published right after its commit."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gevent.event import AsyncResult

from metawsm.bus import ports
from metawsm.bus.letters import Person
from metawsm.bus.ports import Writer
from metawsm.bus.replay import Acted, Replayer
from metawsm.daemon.command_path import CommandPath
from metawsm.domain.errors import IllegalTransition, MetawsmError, NotFound

TOGETHER = 50  # letters acted on in one commit: a job holds the writer shortly, but they are many
Job = partial[Acted]
log = logging.getLogger("metawsm.letters")


class Replaying:
    """Implements `api.dead_letters.Acts`.

    `translate` turns a driver's exception into an error of ours, or gives None for a bug; `rebuild` begins one;
    `on_jobs` hears that there are jobs.
    """

    def __init__(
        self,
        writer: Writer,
        replayer: Replayer,
        commands: CommandPath,
        translate: Callable[[Exception], MetawsmError | None],
        rebuild: Callable[[], None],
        on_jobs: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._replayer = replayer
        self._commands = commands
        self._translate = translate
        self._rebuild = rebuild
        self._on_jobs = on_jobs

    def replay(self, letter_id: int, person: Person, wait: float) -> Acted:
        """Replay one, and wait so many seconds for its command's outcome.

        Raises NotFound, IllegalTransition, Overloaded.
        """
        self._commands.check_room()
        acted: Acted
        acted, ticket = self._begin(self._replay_job(letter_id, person), wait).get()
        if ticket is not None:
            ticket.wait()
        if acted.rebuild:
            self._rebuild()
        return acted

    def discard(self, letter_id: int, person: Person) -> Acted:
        """Discard one. Raises NotFound, IllegalTransition."""
        acted: Acted = self._writer.run(self._discard_job(letter_id, person))
        return acted

    def replay_all(self, letter_ids: Sequence[int], person: Person) -> list[Acted]:
        """Replay many without waiting for outcomes; what one by one would be refused is skipped. Raises Overloaded."""
        acted = list(self._all([self._replay_job(letter_id, person) for letter_id in letter_ids]))
        if any(each.rebuild for each in acted):
            self._rebuild()
        return acted

    def discard_all(self, letter_ids: Sequence[int], person: Person) -> list[Acted]:
        """Discard many; what one by one would be refused is skipped."""
        return list(self._all([self._discard_job(letter_id, person) for letter_id in letter_ids]))

    def _replay_job(self, letter_id: int, person: Person) -> Job:
        return partial(self._replayer.replay, letter_id=letter_id, person=person)

    def _discard_job(self, letter_id: int, person: Person) -> Job:
        return partial(self._replayer.discard, letter_id=letter_id, person=person)

    def _all(self, jobs: Sequence[Job]) -> Iterator[Acted]:
        for first in range(0, len(jobs), TOGETHER):
            self._commands.check_room()
            for result in [self._begin(job, 0.0) for job in jobs[first : first + TOGETHER]]:
                try:
                    yield result.get()[0]
                except (IllegalTransition, NotFound) as error:  # somebody was faster, or its payload is not whole
                    yield Acted(skipped=error.message)

    def _begin(self, job: Job, wait: float) -> AsyncResult:
        """Enqueue an act; after its commit the result is what it did, and who hears of its command's outcome."""
        result = AsyncResult()
        self._writer.enqueue(job, partial(self._ended, result, job, wait))
        return result

    def _ended(self, result: AsyncResult, job: Job, wait: float, outcome: ports.Outcome) -> None:
        if outcome.error is not None:
            self._refused(result, job, outcome.error)
            return
        acted: Acted = outcome.value
        if acted.sent:
            self._commands.sent(acted.sent)
        if acted.jobs:
            self._on_jobs()
        result.set((acted, acted.queued and self._commands.put_back(acted.queued, wait)))

    def _known(self, error: Exception) -> MetawsmError | None:
        return error if isinstance(error, MetawsmError) else self._translate(error)

    def _refused(self, result: AsyncResult, job: Job, error: Exception) -> None:
        known = self._known(error)
        if known is not None:
            result.set_exception(known)
            return
        letter_id = job.keywords["letter_id"]
        log.error("the fresh look at dead letter %d failed: %r", letter_id, error)
        trace = "".join(traceback.format_exception(error))
        note = partial(self._replayer.note_failure, letter_id=letter_id, error=repr(error), traceback=trace)

        def noted(outcome: ports.Outcome) -> None:
            if outcome.error is None:
                result.set((Acted(failed=repr(error)), None))
            else:
                result.set_exception(self._known(outcome.error) or outcome.error)

        try:
            self._writer.enqueue(note, noted)
        except MetawsmError as refused:  # raised to the writer it would leave somebody waiting for ever
            result.set_exception(refused)
