"""A run as people read it: its sections, in the order of the Go program's status. Everything in them is clean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from metawsm.cli.output import Column, age, key, left_out, table_lines
from metawsm.cli.run_gates import gates_of, without_gates
from metawsm.cli.step_line import step_line
from metawsm.cli.text import control_title, cut, fold, one_line

Row = Mapping[str, Any]
LABEL = 10
REASON = 160  # columns; the failed step has all of it
BRIEF_LINES = 3
ERROR_LINES = 8
DIFF_LINES = 8


def page(run: Row, columns: int | None) -> Iterator[str]:
    """The lines, none wider than the terminal (None: as wide as they are), except a single word that must be whole."""
    for section in (_head, _docs, _brief, _guidance, _forum, _diffs, _operator, _next, _steps, _agents):
        yield from section(run, columns)


def _fact(label: str, text: object, columns: int | None) -> Iterator[str]:
    """`Label:    text`, folded under itself."""
    head = f"{label}:"
    for line in fold(text, None if columns is None else columns - LABEL):
        yield f"{head:{LABEL}}{line}".rstrip()
        head = ""


def _block(lines: Iterable[str], columns: int | None, indent: int = 2) -> Iterator[str]:
    """Lines below a label, cut to the terminal."""
    for line in lines:
        text = one_line(line)
        yield " " * indent + (text if columns is None else cut(text, columns - indent))


def _head(run: Row, columns: int | None) -> Iterator[str]:
    reason = f": {cut(without_gates(run), REASON)}" if run.get("reason") else ""
    yield from _fact("Run", run["run_id"], columns)
    yield from _fact("Status", f"{run['state']} for {age(run['state_since'])}{reason}", columns)
    yield from _fact("Mode", f"{run['mode']}, round {run['round']}, begun {age(run['created_at'])} ago", columns)
    yield from _fact("Tickets", ", ".join(run["tickets"]), columns)
    yield from _fact("Repos", f"{', '.join(run['repos'])} from {run['base']} ({run['strategy']})", columns)


def _docs(run: Row, columns: int | None) -> Iterator[str]:
    syncs = run.get("docs", ())
    yield from _fact("Docs", f"in {run['doc_home_repo']}; {'copied at the start' if syncs else 'sync=none'}", columns)
    for warning in run.get("warnings", ()):
        yield from _words(f"warning: {warning}", columns)
    for sync in syncs:
        told = f"{sync['ticket']} in {sync['workspace']}: {sync['status']} {age(sync['updated_at'])} ago"
        yield from _block([told], columns)


def _brief(run: Row, columns: int | None) -> Iterator[str]:
    brief = run.get("brief")
    if not brief:
        return
    yield "Brief:"
    for name, text in brief.items():
        first, *rest = fold(f"{name.replace('_', ' ')}: {text}", None if columns is None else columns - 4)
        yield f"  {first}"
        yield from (f"    {line}" for line in rest[: BRIEF_LINES - 1])
        if len(rest) >= BRIEF_LINES:
            yield f"    ... ({len(rest) - BRIEF_LINES + 1} more lines)"


def _guidance(run: Row, columns: int | None) -> Iterator[str]:
    if not run.get("guidance"):
        return
    yield "Guidance:"
    counts = Counter(asked["agent"] for asked in run["guidance"])
    for asked in run["guidance"]:
        yield from _block(
            [f"{asked['agent']} asks, {age(asked.get('asked_at'))} ago, in {asked['thread_id']}:"], columns
        )
        yield from _words(asked["question"], columns)
        if counts[asked["agent"]] > 1:  # an answer without a name is one to the oldest
            yield from _block([f"answer this one with --answers {asked['post_id']}"], columns, indent=4)


def _words(text: object, columns: int | None, most: int = ERROR_LINES) -> Iterator[str]:
    """Somebody's own words, in their lines, cut in width and number."""
    lines = str(text).rstrip("\n").split("\n")
    yield from _block(lines[:most], columns, indent=6)
    if len(lines) > most:
        yield f"      ... ({len(lines) - most} more lines)"


def _forum(run: Row, columns: int | None) -> Iterator[str]:
    forum = run.get("forum", {})
    states, sla = forum.get("states", {}), forum.get("sla", {})
    if not states:
        yield from _fact("Forum", "no threads", columns)
        return
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    waits = f"; {sla.get('waiting_count', 0)} waiting, {sla.get('breached_count', 0)} breached"
    oldest = f", the oldest for {age(sla['oldest_waiting_since'])}" if sla.get("oldest_waiting_since") else ""
    yield from _fact("Forum", f"{counts}{waits}{oldest}", columns)
    heads = [
        Column("THREAD", key("thread_id")),
        Column("STATE", key("state"), drop=1),
        Column("PRIORITY", key("priority"), drop=3),
        Column("WAITS", lambda row: age(row.get("waiting_since")), drop=2),
        Column("TITLE", _title, flexible=True),
    ]
    yield from _table(heads, forum.get("threads", ()), columns)


def _title(view: Row) -> str:
    """The title; that of a control thread only repeats the run, so it is said in fewer words."""
    return control_title(view) or str(view.get("title", ""))


def _table(heads: Sequence[Column], rows: Sequence[Row], columns: int | None) -> Iterator[str]:
    """A table below a label, and what did not fit into it."""
    if rows:
        shown, lines = table_lines(heads, rows, None if columns is None else columns - 2)
        yield from (f"  {line}" for line in lines)
        if columns is not None and (missing := left_out(heads, shown, rows)):
            yield from (f"  {line}" for line in fold(missing, columns - 2))


def _diffs(run: Row, columns: int | None) -> Iterator[str]:
    if not run.get("checkouts"):
        return
    yield "Diffs:"
    for checkout in run["checkouts"]:
        files, more = checkout["files"], checkout["more"] + max(0, len(checkout["files"]) - DIFF_LINES)
        yield from _block([checkout_line(checkout, run["base"])], columns)
        yield from _block(files[:DIFF_LINES], columns, indent=6)
        if more:
            yield f"      ... ({more} more)"


def checkout_line(checkout: Row, base: str) -> str:
    """What was done in a checkout when it was last looked at: files that are not committed, and commits."""
    count, ahead = len(checkout["files"]) + checkout["more"], checkout.get("ahead", 0)
    commits = f", {ahead} {'commit' if ahead == 1 else 'commits'} ahead of {base}" if ahead else ""
    told = checkout.get("error") or f"{f'dirty files={count}' if count else 'clean'}{commits}"
    place = f"{checkout['workspace']}/{checkout['repo']}"
    return one_line(f"{place} {told} (seen {age(checkout['measured_at'])} ago)")


def _operator(run: Row, columns: int | None) -> Iterator[str]:
    """What the operator rules say, where they say that something is to be done."""
    decision = run.get("operator", {})
    if decision.get("reason"):
        yield from _fact("Operator", f"{decision['action']}: {decision['reason']}", columns)


def _next(run: Row, columns: int | None) -> Iterator[str]:
    if not run.get("next"):
        return
    yield "Next:"
    for command in run["next"]:
        yield from _command(command, columns)


def _command(command: str, columns: int | None, head: str = "  ") -> Iterator[str]:
    """A command after a head, that can be copied into a shell, also where it takes several lines."""
    rest = " " * (len(head) + 2)
    *lines, last = fold(command, None if columns is None else columns - len(rest) - 2)
    yield from (f"{rest if n else head}{line} \\" for n, line in enumerate(lines))
    yield f"{rest if lines else head}{last}"


def _steps(run: Row, columns: int | None) -> Iterator[str]:
    counts = Counter(step["state"] for step in run["steps"])
    names = ("done", "running", "pending", "failed", "skipped")
    told = " ".join(f"{name}={counts[name]}" for name in names)
    yield from _fact("Steps", f"total={len(run['steps'])} {told}", columns)
    for step in run["steps"]:
        if step["state"] == "running":
            yield from _block([f"{step['index']} {step_line(step)} {age(step.get('started_at'))}"], columns)
        elif step["state"] == "failed" and not _is_past(step, run["steps"]):
            yield from _block([f"{step['index']} {step_line(step)}"], columns)
            gates = gates_of(step)
            for gate in gates:
                yield from _gate(gate, columns)
            if not gates:
                yield from _words(step.get("error", ""), columns)


def _gate(gate: Row, columns: int | None) -> Iterator[str]:
    """What bars a closing, whole, with its mend."""
    first, *rest = fold(gate["text"], None if columns is None else columns - 8)
    yield f"      - {first}"
    yield from (f"        {line}" for line in rest)
    yield from _command(gate["mend"], columns, head="        mend: ")


def _is_past(step: Row, steps: Sequence[Row]) -> bool:
    """Whether it is of an earlier action, or the same was tried again."""
    same = (step["kind"], step["name"])
    return step["action"] != steps[-1]["action"] or any(
        (later["kind"], later["name"]) == same for later in steps if later["index"] > step["index"]
    )


def _agents(run: Row, columns: int | None) -> Iterator[str]:
    if not run["agents"]:
        yield from _fact("Agents", "none", columns)
        return
    yield "Agents:"
    heads = [
        Column("AGENT", lambda row: f"{row['name']}@{row['workspace']}"),
        Column("STATE", key("state")),
        Column("SINCE", lambda row: age(row["state_since"]), drop=7),
        Column("ACTIVE", lambda row: age(row.get("last_activity_at")), drop=5),
        Column("PROGRESS", lambda row: age(row.get("last_progress_at")), drop=6),
        Column("EXIT", key("exit_code"), drop=2),
        Column("REPORTED", _reported, drop=1),
        Column("SESSION", key("session"), drop=4),
        Column("REASON", key("reason"), drop=3, flexible=True),
    ]
    yield from _table(heads, run["agents"], columns)


def _reported(agent: Row) -> str:
    """What an agent waits for, has not read, or has reported in this round."""
    asks = f"asks {agent['open_requests']}" if agent["open_requests"] else ""
    done = "completion" if agent["completed"] else ""
    unread = "answered, not read" if agent.get("unread_answers") else ""
    return ", ".join(filter(None, (asks, unread, done, agent.get("validation"))))
