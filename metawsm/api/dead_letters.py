"""The endpoints of dead letters: list, show, replay and discard, one or many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import evolve, frozen

from metawsm.api.access import Access
from metawsm.api.exchange import Answer, Request
from metawsm.api.operations import DISCARD_LETTERS, LETTER_FILTERS, LIST_LETTERS, REPLAY_LETTER, REPLAY_LETTERS
from metawsm.api.parameters import LARGEST, read
from metawsm.api.queries import command_view
from metawsm.bus import cursors
from metawsm.bus.dispatch import CommandRow
from metawsm.bus.fields import split
from metawsm.bus.letters import FOREIGN_REASONS, OPEN, EndLetter, LetterFilter, Person
from metawsm.bus.ports import Db
from metawsm.bus.replay import Acted
from metawsm.domain.errors import Malformed, NotAllowed, NotFound
from metawsm.domain.states import RESPONDERS

_NAMES = tuple(parameter.name for parameter in LETTER_FILTERS)


@frozen
class LetterReads:
    """The readers of the table, each takes the connection first.

    page(db, wanted, limit, cursor) · count(db, wanted) · ids(db, wanted, limit) · newest(db) · whole(db, letter_id) ·
    command(db, command_id).
    """

    page: Callable[[Db, LetterFilter, int, str | None], dict[str, Any]]
    count: Callable[[Db, LetterFilter], int]
    ids: Callable[[Db, LetterFilter, int], list[int]]
    newest: Callable[[Db], int]
    whole: Callable[[Db, int], dict[str, Any] | None]
    command: Callable[[Db, str], CommandRow | None]


class Acts(Protocol):
    """What people may do with letters."""

    def replay(self, letter_id: int, person: Person, wait: float) -> Acted:
        """Replay one, and wait so many seconds for the outcome of its command."""
        ...

    def discard(self, letter_id: int, person: Person) -> Acted:
        """Discard one."""
        ...

    def replay_all(self, letter_ids: list[int], person: Person) -> list[Acted]:
        """Replay many without waiting; those that somebody else was faster with are left alone."""
        ...

    def discard_all(self, letter_ids: list[int], person: Person) -> list[Acted]:
        """Discard many."""
        ...


@frozen
class DeadLetterPages:
    """The endpoints. `run` executes one query that may look at many rows."""

    access: Access
    reads: LetterReads
    acts: Acts
    run: Callable[[Callable[[Db], Any]], Any]

    def letters(self, request: Request) -> Answer:
        """GET /forum/dead-letters."""
        query = read(request, LIST_LETTERS.parameters)
        wanted, limit, cursor = evolve(_wanted(query), status=query["status"]), query["limit"], query["cursor"]
        return Answer(200, self.run(lambda db: self.reads.page(db, wanted, limit, cursor)))

    def letter(self, request: Request) -> Answer:
        """GET /forum/dead-letters/{id}."""
        request.only()
        return Answer(200, {"dead_letter": self._whole(_letter_id(request))})

    def replay_letter(self, request: Request) -> Answer:
        """POST /forum/dead-letters/{id}/replay."""
        wait = read(request, REPLAY_LETTER.parameters)["wait"]
        letter_id, person = _letter_id(request), self._person(request)
        acted = self.acts.replay(letter_id, person, wait)
        letter = self._whole(letter_id)
        told: dict[str, Any] = {"dead_letter": letter, "done": acted.done}
        row = self.run(lambda db: self.reads.command(db, letter.get("command_id", "")))
        told |= {"command": command_view(row)} if row is not None else {}
        return Answer(200, told | ({"rebuild": True} if acted.rebuild else {}))

    def discard_letter(self, request: Request) -> Answer:
        """POST /forum/dead-letters/{id}/discard."""
        request.only()
        letter_id, person = _letter_id(request), self._person(request)
        acted = self.acts.discard(letter_id, person)
        return Answer(200, {"dead_letter": self._whole(letter_id), "done": acted.done})

    def replay_letters(self, request: Request) -> Answer:
        """POST /forum/dead-letters/replay."""
        query = read(request, REPLAY_LETTERS.parameters)
        without = () if query["reason"] in FOREIGN_REASONS else FOREIGN_REASONS
        return self._many(query, self._person(request), self.acts.replay_all, without)

    def discard_letters(self, request: Request) -> Answer:
        """POST /forum/dead-letters/discard."""
        query = read(request, DISCARD_LETTERS.parameters)
        return self._many(query, self._person(request), self.acts.discard_all, ())

    def _many(
        self,
        query: dict[str, Any],
        person: Person,
        act: Callable[[list[int], Person], list[Acted]],
        without: tuple[str, ...],
    ) -> Answer:
        """Act on the open letters that match, up to the newest one that there was at the first request.

        The cursor of a dry run binds what follows to the letters that it has counted.
        """
        if query["all"] != "true" and not any(query[name] for name in _NAMES):
            raise Malformed("say which letters: give a filter, or all=true", fields={"all": ["or a filter is needed"]})
        wanted = evolve(_wanted(query), status=OPEN, without=without)
        question = cursors.fingerprint(wanted)
        above, upto = self._bounds(query["cursor"], question)
        wanted = evolve(wanted, above=above, upto=upto)
        matched = self.run(lambda db: self.reads.count(db, wanted))
        dry_run = query["dry_run"] == "true"
        ids = [] if dry_run else self.run(lambda db: self.reads.ids(db, wanted, query["limit"]))
        acted = act(ids, person)
        result = {
            "matched": matched,
            "done": sum(each.done for each in acted),
            "failed": sum(each.failed is not None for each in acted),
            "skipped": sum(each.skipped is not None for each in acted),
            "rebuild": sum(each.rebuild for each in acted),
            "dry_run": dry_run,
        }
        reached = above if dry_run else ids[-1] if len(ids) < matched and ids else None
        more = {} if reached is None else {"next_cursor": cursors.encode(question, (reached, upto))}
        return Answer(200, {"result": result} | more)

    def _bounds(self, cursor: str | None, question: int) -> tuple[int, int]:
        if cursor is None:
            return 0, int(self.run(self.reads.newest))
        above, upto = cursors.decode(cursor, question, (int, int))
        return above, upto

    def _whole(self, letter_id: int) -> dict[str, Any]:
        letter: dict[str, Any] | None = self.run(lambda db: self.reads.whole(db, letter_id))
        if letter is None:
            raise NotFound(f"there is no dead letter {letter_id}; ended ones are kept for some days only")
        return letter

    def _person(self, request: Request) -> Person:
        """Who acts. Raises InvalidFields, NotAllowed for an agent."""
        (who,) = split(request.json_object(), EndLetter)
        if who.actor_type not in RESPONDERS:
            raise NotAllowed(f"dead letters are ended by {' or '.join(RESPONDERS)}, not by {who.actor_type}")
        return Person(who.actor_type, who.actor_name, self.access.credential(request).known_by)


def _letter_id(request: Request) -> int:
    text = request.path["letter_id"]
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= LARGEST):
        raise NotFound(f"there is no dead letter {text[:40]!r}: its id is a number")
    return int(text)


def _wanted(query: dict[str, Any]) -> LetterFilter:
    return LetterFilter(**{name: query[name] for name in _NAMES})
