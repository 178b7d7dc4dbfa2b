"""The page about REST."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metawsm.api.openapi import ABOUT
from metawsm.bus.fields import rules_of
from metawsm.bus.specs import Attribution, Expectation
from scripts.reference_pages.markdown import kind, members, table

HEAD = f"""\
# REST

Base path `/api/v1`, default address `http://127.0.0.1:3001`. The same in machine form: [openapi.json](openapi.json),
served at `/api/v1/openapi.json`. Error codes: [errors.md](errors.md). The live stream: [websocket.md](websocket.md).

{ABOUT}
Lists are ordered by priority, then by the newest event. `next_cursor` of a page leads to the next one; it fixes the
newest event at the first page, so that no thread comes twice and none is skipped that did not move. A page may be
short and still have a `next_cursor`.

With `expected_sequence` an action on a thread succeeds only if the thread's `version_sequence` is still that; else it
answers 409 with the current view.

Names (ticket, run_id, agent_name) are 1 to 64 letters, digits, `.`, `_` or `-` and begin with a letter or digit; a
thread_id of your own is `fthr-` and 1 to 60 lower-case letters, digits or `-`. Texts are any UTF-8 without NUL. In the
tables `?` marks what may be missing.

This page is generated: run `scripts/reference` after a change.
"""
EXAMPLES = """\
## Examples

```sh
curl -s http://127.0.0.1:3001/api/v1/health | jq .status
curl -s http://127.0.0.1:3001/api/v1/forum/threads -H 'Content-Type: application/json' \\
  -d '{"ticket": "MET-1", "title": "Which schema?", "body": "v1 or v2?"}'
curl -s "http://127.0.0.1:3001/api/v1/forum/threads/$THREAD/answer" -H 'Content-Type: application/json' \\
  -H "Authorization: Bearer $(cat .metawsm/token)" -d '{"actor_type": "operator", "body": "v2"}'
curl -s http://127.0.0.1:3001/api/v1/runs -H 'Content-Type: application/json' \\
  -H "Authorization: Bearer $(cat .metawsm/token)" -d '{"actor_type": "operator", "mode": "bootstrap",
    "tickets": ["MET-1"], "repos": ["api"], "goal": "One schema", "scope": "the events",
    "done_criteria": "tests pass", "constraints": "no new dependency"}'
curl -s http://127.0.0.1:3001/api/v1/forum/control/signal -H 'Content-Type: application/json' \\
  -H "Authorization: Bearer $(cat .metawsm/token)" -d '{"actor_type": "operator", "run_id": "run-...",
    "ticket": "MET-1", "agent_name": "bob", "payload": {"control_type": "guidance_answer", "answer": "v2"}}'
```
"""
SHARED = tuple(name for part in (Attribution, Expectation) for name in rules_of(part))


def rest(document: dict[str, Any]) -> str:
    """The page as Markdown."""
    parts = [HEAD, EXAMPLES, "## Operations\n", _overview(document), ""]
    parts += ["### Every write\n", _every_write(document)]
    parts += [_operation(path, method, item, document) for path, method, item in _operations(document)]
    parts += ["## Objects\n", "Empty optional values are left out.\n"]
    parts += list(_objects(document))
    return "\n".join(parts).rstrip() + "\n"


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in ("get", "post"):
            if method in item:
                yield path, method.upper(), item[method]


def _overview(document: dict[str, Any]) -> str:
    rows = ((f"{method} `{path}`", item["summary"]) for path, method, item in _operations(document))
    return table(("operation", "what it does"), rows)


def _operation(path: str, method: str, item: dict[str, Any], document: dict[str, Any]) -> str:
    parts = [f"### {method} {path}\n", f"{item['summary']}.\n"]
    query = [p for p in item.get("parameters", ()) if "name" in p]
    if query:
        rows = ((f"`{p['name']}`{'' if p['required'] else '?'}", kind(p["schema"]), _about(p)) for p in query)
        parts += [table(("query", "value", "meaning"), rows), ""]
    if "requestBody" in item and "$ref" in (body := item["requestBody"]["content"]["application/json"]["schema"]):
        parts += [_body(body["$ref"], document), ""]
    return "\n".join([*parts, f"Answers {_answers(item)}.", ""])


def _about(parameter: dict[str, Any]) -> str:
    default = parameter["schema"].get("default")
    return str(parameter["description"]) + ("" if default is None else f" (default `{default}`)")


def _body(reference: str, document: dict[str, Any]) -> str:
    """The members of a body, but for those of every write."""
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    own = {name: member for name, member in schema["properties"].items() if name not in SHARED}
    more = ", ".join(f"`{name}`?" for name in SHARED if name in schema["properties"])
    shown = [_named_body(schema | {"properties": own}), ""] if own else []
    return "\n".join([*shown, f"Further members: {more} (see [every write](#every-write))."])


def _named_body(schema: dict[str, Any]) -> str:
    return members(schema).replace("| member |", "| body |", 1)


def _every_write(document: dict[str, Any]) -> str:
    schema = document["components"]["schemas"]["AddPost"]
    shared = {name: schema["properties"][name] for name in SHARED}
    query = "Query: `wait`?, how many seconds to wait for the outcome (0 to 30, default 5). Header: `Idempotency-Key`?."
    return "\n".join([_named_body(schema | {"properties": shared}), "", query, ""])


def _answers(item: dict[str, Any]) -> str:
    good, bad = [], []
    for status, answer in item["responses"].items():
        if "$ref" in answer:
            bad.append(status)
        elif "content" in answer:
            good.append(f"{status} {kind(answer['content']['application/json']['schema'])}")
        else:
            good.append(status)
    return "; ".join([", ".join(good), *([f"errors {', '.join(bad)}"] if bad else [])])


def _objects(document: dict[str, Any]) -> Iterator[str]:
    bodies = {_body_name(item) for _, _, item in _operations(document)}
    for name, schema in document["components"]["schemas"].items():
        if name in bodies or name.startswith("event."):
            continue
        yield f"### {name}\n"
        if "oneOf" in schema and name == "Event":
            yield "`{sequence, envelope, payload_json, payload}`: see [topics.md](topics.md).\n"
        elif "oneOf" in schema:
            yield from (f"{_form(form)}\n" for form in schema["oneOf"])
        else:
            yield _object(schema)


def _body_name(item: dict[str, Any]) -> str:
    schema = item.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _form(form: dict[str, Any]) -> str:
    kind_of = form["properties"]["control_type"]["const"]
    needed = [f"`{name}`" for name in form["required"] if name != "control_type"]
    return f"`control_type: {kind_of}` needs {', '.join(needed) or 'nothing more'}."


def _object(schema: dict[str, Any]) -> str:
    about = f"{schema['description']}\n\n" if "description" in schema else ""
    return about + (f"{members(schema)}\n" if "properties" in schema else "A JSON object.\n")
