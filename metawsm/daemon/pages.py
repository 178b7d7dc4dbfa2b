"""The endpoints that are made of daemon parts: documents, rebuild, dead letters, backups, runs."""

from __future__ import annotations

from typing import Any, Protocol

from metawsm.api.app import Pages
from metawsm.api.asyncapi import asyncapi
from metawsm.api.backups import BackupEndpoints, BackupPort
from metawsm.api.dead_letters import DeadLetterPages
from metawsm.api.exchange import Answer, Request
from metawsm.api.openapi import openapi
from metawsm.api.runs import RunPages
from metawsm.bus.catalogue import Catalogue
from metawsm.daemon.facts import Facts
from metawsm.domain.errors import InvalidFields
from metawsm.messages.topics import Topics


class RebuildPort(Protocol):
    """The rebuild of the read models."""

    def begin(self) -> None:
        """Start one unless one runs."""
        ...

    def facts(self) -> dict[str, Any]:
        """How far it is."""
        ...


def pages(
    catalogue: Catalogue,
    topics: Topics,
    facts: Facts,
    rebuild: RebuildPort,
    letters: DeadLetterPages,
    backups: BackupPort,
    runs: RunPages,
) -> Pages:
    """All of them; the documents are made once."""
    open_api, async_api = openapi(catalogue), asyncapi(catalogue, topics)

    def begin(request: Request) -> Answer:
        if unknown := request.json_object():
            raise InvalidFields(
                f"faulty field(s): {', '.join(unknown)}", fields={name: ["is not known"] for name in unknown}
            )
        rebuild.begin()
        return Answer(202, {"rebuild": rebuild.facts()})

    return Pages(
        health=facts.health,
        debug=facts.debug,
        livez=facts.livez,
        readyz=facts.readyz,
        openapi=lambda _: Answer(200, open_api),
        asyncapi=lambda _: Answer(200, async_api),
        rebuild=begin,
        rebuild_state=lambda _: Answer(200, {"rebuild": rebuild.facts()}),
        letters=letters.letters,
        letter=letters.letter,
        replay_letter=letters.replay_letter,
        discard_letter=letters.discard_letter,
        replay_letters=letters.replay_letters,
        discard_letters=letters.discard_letters,
        backup=BackupEndpoints(backups).create,
        backups=BackupEndpoints(backups).list,
        runs=runs.runs,
        run=runs.one,
        release_jobs=runs.release,
    )
