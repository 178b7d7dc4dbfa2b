"""What a person may do with a dead letter: replay it, which gives its message a fresh look, or discard it.

Each act is one writer job: the letter ends in the transaction of its effect, so of two acts at once one is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen

from metawsm.bus.dispatch import CommandRow, Rows
from metawsm.bus.letters import (
    DISCARDED,
    FOREIGN_REASONS,
    HANDLER_FAILED,
    OPEN,
    PROJECTION_FAILED,
    REACTION_FAILED,
    REPLAYED,
    Person,
    StoredLetter,
)
from metawsm.bus.ports import Db, Delivery, Message
from metawsm.bus.reactions import Reactor
from metawsm.bus.receive import Receiver, told
from metawsm.bus.work import Queued, Tools
from metawsm.domain.errors import IllegalTransition, InvalidFields, NotFound, Undecodable
from metawsm.messages.codec import read_command


class Letters(Protocol):
    """The kept letters, as replaying needs them."""

    def find(self, db: Db, letter_id: int) -> StoredLetter | None:
        """The letter, or None."""
        ...

    def end(self, db: Db, letter_id: int, status: str, person: Person, now: str, command_id: str | None = None) -> None:
        """An open letter becomes `replayed` or `discarded`."""
        ...

    def failed_again(self, db: Db, letter_id: int, error: str, traceback: str | None, now: str) -> None:
        """The letter stays open and says why."""
        ...

    def release(self, db: Db, row_id: int) -> None:
        """Remove a failed row of the outbox, so that its command can take a new position."""
        ...


@frozen
class Acted:
    """What an act did: `done`, or why it `failed` again, or that a `rebuild` has to do it; neither: nothing to do.

    `skipped` says why one of many was refused, which changed nothing. `queued` is the command that took a new position,
    if one did; `sent` are commands that a reaction sent, `jobs` says that it added some.
    """

    done: bool = False
    failed: str | None = None
    skipped: str | None = None
    rebuild: bool = False
    queued: Queued | None = None
    sent: tuple[Queued, ...] = ()
    jobs: bool = False


@frozen
class Replayer:
    """The acts. Everything it is handed is a port or plain data; `reactors` are the reactions by name."""

    receiver: Receiver
    rows: Rows
    letters: Letters
    tools: Tools
    reactors: Mapping[str, Reactor] = field(factory=dict)

    def replay(self, db: Db, letter_id: int, person: Person) -> Acted:
        """Give the letter's message a fresh look. One that was replayed stays as it is.

        Raises NotFound, or IllegalTransition for a letter that was discarded or has no whole payload.
        """
        letter = self._letter(db, letter_id)
        if letter.status == REPLAYED:
            return Acted()
        if letter.status != OPEN:
            raise IllegalTransition(f"dead letter {letter_id} is {letter.status}; only open ones can be replayed")
        if letter.reason == PROJECTION_FAILED:
            return Acted(rebuild=True)
        if letter.reason == REACTION_FAILED:
            return self._react(db, letter, person)
        try:
            row = self._row(db, letter, person)
        except (Undecodable, InvalidFields) as error:
            why = told(error)
            self.letters.failed_again(db, letter_id, why, None, self.tools.now())
            return Acted(failed=why)
        row = self._at_the_end(db, row) if row.status == "failed" else row
        self.letters.end(db, letter_id, REPLAYED, person, self.tools.now(), row.message_id)
        return Acted(done=True, queued=_queued(row) if row.status == "pending" else None)

    def _react(self, db: Db, letter: StoredLetter, person: Person) -> Acted:
        """React once more to that one event, as things are now. Raises ReactionFailed, which leaves the letter open."""
        reactor = self.reactors.get(letter.handler)
        if reactor is None:
            raise IllegalTransition(f"this program has no reaction {letter.handler!r}; the letter can be discarded")
        reacted = reactor.again(db, int(letter.entry_id.partition("-")[0]))
        self.letters.end(db, letter.id, REPLAYED, person, self.tools.now())
        return Acted(done=True, sent=reacted.queued, jobs=reacted.jobs)

    def discard(self, db: Db, letter_id: int, person: Person) -> Acted:
        """Nothing more is to be done about it. Raises NotFound, or IllegalTransition for one that was replayed."""
        letter = self._letter(db, letter_id)
        if letter.status == DISCARDED:
            return Acted()
        if letter.status != OPEN:
            raise IllegalTransition(f"dead letter {letter_id} is {letter.status}; only open ones can be discarded")
        self.letters.end(db, letter_id, DISCARDED, person, self.tools.now())
        return Acted(done=True)

    def note_failure(self, db: Db, letter_id: int, error: str, traceback: str) -> None:
        """The fresh look made the program fail: count it, after the failed transaction was undone."""
        self.letters.failed_again(db, letter_id, error, traceback, self.tools.now())

    def _letter(self, db: Db, letter_id: int) -> StoredLetter:
        letter = self.letters.find(db, letter_id)
        if letter is None:
            raise NotFound(f"there is no dead letter {letter_id}; ended ones are kept for some days only")
        return letter

    def _row(self, db: Db, letter: StoredLetter, person: Person) -> CommandRow:
        """The command's row: the one it has, one of its stored text, or that of a fresh look at the message."""
        known = letter.command_id and self.rows.find(db, letter.command_id)
        if known:
            return known
        if letter.cut:
            raise IllegalTransition(
                f"the payload of dead letter {letter.id} was cut to save space; it can only be discarded"
            )
        if letter.payload is None:
            raise IllegalTransition(f"the entry of dead letter {letter.id} had no payload; it can only be discarded")
        if letter.reason == HANDLER_FAILED and letter.command_id and letter.thread_id:
            return self._stored_anew(db, letter.command_id, letter.topic, letter.thread_id, letter.payload.decode())
        delivery = Delivery(letter.topic, letter.group, letter.entry_id)
        message = Message(letter.message_id or "", {}, letter.payload)
        known_by = person.known_by if letter.reason in FOREIGN_REASONS else "redis"
        row = self.receiver.external(db, delivery, message, known_by)
        if row is None:
            raise Undecodable("it makes no command")
        return row

    def _at_the_end(self, db: Db, row: CommandRow) -> CommandRow:
        """The same command, under the same identity, at a new position."""
        self.letters.release(db, row.id)
        return self._stored_anew(db, row.message_id, row.topic, row.key, row.text)

    def _stored_anew(self, db: Db, command_id: str, topic: str, key: str, text: str) -> CommandRow:
        row_id = self.rows.insert(db, command_id, topic, key, text, self.tools.now())
        return CommandRow(row_id, command_id, topic, key, text, "pending")


def _queued(row: CommandRow) -> Queued:
    head, _ = read_command(row.text)
    name, correlation = str(head["event_type"]), str(head["correlation_id"])
    return Queued(row.id, "command", row.message_id, row.topic, row.key, row.text, name, correlation)
