"""Every page by its file name."""

from __future__ import annotations

import json

from metawsm.api.asyncapi import asyncapi
from metawsm.api.openapi import openapi
from metawsm.bus.catalogue import Catalogue
from metawsm.cli.reference import reference as cli
from metawsm.commands import ALL
from metawsm.messages.topics import Topics
from metawsm.policy.reference import reference as policy
from scripts.reference_pages.database import database
from scripts.reference_pages.errors import errors
from scripts.reference_pages.rest import rest
from scripts.reference_pages.topics import topics
from scripts.reference_pages.websocket import websocket


def pages() -> dict[str, str]:
    """The text of each page."""
    catalogue = Catalogue.of(ALL)
    rest_document, stream_document = openapi(catalogue), asyncapi(catalogue, Topics())
    return {
        "rest.md": rest(rest_document),
        "websocket.md": websocket(stream_document),
        "topics.md": topics(stream_document),
        "errors.md": errors(),
        "cli.md": cli(),
        "database.md": database(),
        "policy.md": policy(),
        "openapi.json": _json(rest_document),
        "asyncapi.json": _json(stream_document),
    }


def _json(document: object) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
