"""OpenAPI and AsyncAPI documents, generated from the definitions that serve."""

from __future__ import annotations

from typing import Any

from metawsm.bus.catalogue import Catalogue
from metawsm.messages.topics import Topics


def openapi(catalogue: Catalogue) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the REST interface."""
    return {"openapi": "3.1.0", "paths": {spec.path: {} for spec in catalogue.specs}}


def asyncapi(catalogue: Catalogue, topics: Topics) -> dict[str, Any]:
    """The AsyncAPI 3.0 document of streams and WebSocket."""
    return {"asyncapi": "3.0.0", "channels": {topics.command(spec.name): {} for spec in catalogue.specs}}
