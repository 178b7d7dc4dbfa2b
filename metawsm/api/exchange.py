"""One request as an endpoint reads it, and one answer as it writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from attrs import define, field

from metawsm.domain.errors import Malformed
from metawsm.domain.values import value_class
from metawsm.messages.json_text import from_json, to_json

Environ = dict[str, Any]
_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


@value_class
class Answer:
    """Status, JSON object or ready bytes, and further headers."""

    status: int
    body: Mapping[str, Any] | bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def line(self) -> str:
        """The status line's text, such as `200 OK`."""
        return _LINES[self.status]

    def encoded(self) -> bytes:
        """The body as bytes of UTF-8."""
        return self.body if isinstance(self.body, bytes) else to_json(self.body).encode()

    def head(self, size: int) -> list[tuple[str, str]]:
        """All headers of an answer of `size` bytes."""
        return [
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", str(size)),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *self.headers,
        ]


@define
class Request:
    """A request: the WSGI environ, and the names in its path."""

    environ: Environ
    path: Mapping[str, str] = field(factory=dict)
    _query: dict[str, str] | None = None

    def header(self, name: str) -> str | None:
        """A header by its WSGI name (`HTTP_HOST`, `CONTENT_TYPE`), or None."""
        value = self.environ.get(name)
        return None if value is None else str(value)

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters. Raises Malformed for bytes that are not UTF-8 and for repeated names."""
        if self._query is None:
            self._query = _parsed(self.environ.get("QUERY_STRING", ""))
        return self._query

    def only(self, *known: str) -> dict[str, str]:
        """The query, after a check that it has no parameter beyond `known`. Empty values count as absent."""
        for name in self.query:
            if name not in known:
                raise Malformed(
                    f"query parameter {name!r} is not known here", fields={name: [f"known are: {', '.join(known)}"]}
                )
        return {name: value for name, value in self.query.items() if value != ""}

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises Malformed."""
        raw = self.environ["wsgi.input"].read()
        try:
            # decoded here, since json guesses other encodings and lets half characters pass
            value = from_json(raw.decode() or "{}", _DECODE)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"the body is not JSON: {_short(error)}") from error
        if not isinstance(value, dict):
            raise Malformed(f"the body must be a JSON object, not {type(value).__name__}")
        return value


def number(query: Mapping[str, str], name: str, default: int, most: int, least: int = 1) -> int:
    """A whole number of the query between `least` and `most`. Raises Malformed."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        told = f"must be a whole number from {least} to {most}"
        raise Malformed(f"query parameter {name} {told}, not {text[:40]!r}", fields={name: [told]})
    return int(text)


def _parsed(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError as error:
        raise Malformed(f"the query string cannot be read: {_short(error)}") from error
    query = dict(pairs)
    if len(query) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        told = "is given more than once"
        raise Malformed(f"query parameter {', '.join(map(repr, twice))} {told}", fields={n: [told] for n in twice})
    return query


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# json.loads with other than its default options makes a new decoder for each call.
_DECODE = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _short(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
