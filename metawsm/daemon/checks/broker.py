"""Redis: which one it is, and whether it can carry our messages without losing or refusing any."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from metawsm.commands import ALL as COMMANDS
from metawsm.daemon.checks.finding import Case, Finding, fail, ok, warn
from metawsm.domain.errors import PolicyError, Refused, Unavailable
from metawsm.domain.events import ALL as FACTS
from metawsm.messages.topics import Topics
from metawsm.policy import Policy
from metawsm.policy.overrides import variable
from metawsm.storage.inspection import Examiner
from metawsm.streams.bundled import BundledServer, find_binary
from metawsm.streams.choice import DEFAULT_URL, NOEVICTION, Kind, choose
from metawsm.streams.examine import Examined, examine, examine_groups
from metawsm.streams.inspection import GroupInfo
from metawsm.streams.lease import CLAIM

OLDEST = (7, 0)
SLOW_MS = 20.0
SKEW_SECONDS = 5.0
NEARLY_FULL, FULL = 0.8, 0.98
MOST_BEHIND = 1000  # entries
IDLE_SECONDS = 60.0


def broker(case: Case) -> Iterator[Finding]:
    """The server that is used, or would be used by a start now."""
    chosen, url = _chosen(case)
    yield chosen
    if not url:
        return
    try:
        seen = examine(url)
    except (Unavailable, PolicyError) as error:
        yield fail("redis.ping", error.message, _how_to_reach(case))
        return
    yield _ping(seen)
    yield _version(seen)
    yield _role(seen)
    yield _persistence(seen)
    yield _eviction(seen)
    yield _memory(seen)
    yield _owner(seen, _database_id(case.database), case)
    yield _clock(seen)
    yield from _groups(case.policy, url)


def _chosen(case: Case) -> tuple[Finding, str]:
    """What is used and where it answers; no url where there is nothing to ask."""
    told = str(case.seen.bus.get("redis_url", "")) if case.seen else ""
    if told and "***" not in told and case.served and not case.named_redis:  # a daemon on this machine knows best
        redis = case.seen.health.get("components", {}).get("redis", {}) if case.seen else {}
        return ok("redis.choice", f"the daemon uses {redis.get('reason') or told}"), told
    choice = choose(case.policy.forum.redis.url, DEFAULT_URL)
    if choice.kind is Kind.NONE:
        return fail(
            "redis.choice", choice.reason, "set forum.redis.url, or delete it: one is found or started then"
        ), ""
    if choice.kind is Kind.EXTERNAL:
        return ok("redis.choice", choice.reason), choice.url
    return _bundled(case, choice.reason)


def _how_to_reach(case: Case) -> str:
    """What to do about a server that does not answer. A url that is named keeps the bundled server from being used."""
    source = variable("forum.redis.url")
    if case.named_redis:
        source = "--redis"
    elif not case.env.get(source):
        source = "forum.redis.url"
    unset = "" if source == "--redis" else ", or unset it to use the bundled server"
    return f"start it, or correct url, port and database number in {source}{unset}; nothing is lost meanwhile"


def _bundled(case: Case, reason: str) -> tuple[Finding, str]:
    try:
        find_binary()
        server = BundledServer(case.folder, _database_id(case.database) or "")
    except Refused as error:
        return fail("redis.choice", error.message, "name a Redis server with forum.redis.url"), ""
    except OSError as error:
        return fail("redis.choice", f"{case.folder / 'redis'}: {error.strerror}", "run as the daemon's user"), ""
    if server.is_alive():
        return ok("redis.choice", reason), server.url
    if case.served:
        hint = f"look into {server.log_path}; the daemon starts it again"
        return fail("redis.choice", f"{reason}; it does not run", hint), ""
    return ok("redis.choice", f"{reason}; it starts with the daemon"), ""


def _database_id(path: Path) -> str | None:
    """The id of the database, None where there is none to read."""
    if not os.path.isfile(path):
        return None
    try:
        with Examiner(path) as examiner:
            rows = examiner.read(
                lambda db: list(db.execute("SELECT value FROM metawsm_meta WHERE name = 'database_id'")), 1.0
            )
    except Exception:  # noqa: BLE001 - the checks of the database say what is wrong with it
        return None
    return str(rows[0][0]) if rows else None


def _ping(seen: Examined) -> Finding:
    shown = f"{seen.shown} answers in {seen.latency_ms:.1f} ms"
    if seen.latency_ms > SLOW_MS:
        return warn("redis.ping", shown, "each write waits for two round trips: use a server nearby")
    return ok("redis.ping", shown)


def _version(seen: Examined) -> Finding:
    name, _, number = seen.facts.version.partition(" ")
    parts = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
    if name == "redis" and parts < OLDEST:
        return fail(
            "redis.version", seen.facts.version, "use Redis 7.0 or newer, or Valkey: older ones do not tell lag"
        )
    return ok("redis.version", seen.facts.version)


def _role(seen: Examined) -> Finding:
    if seen.facts.cluster:
        hint = "use a server without cluster mode: one read spans several streams"
        return fail("redis.role", "the server is part of a cluster", hint)
    if seen.facts.role != "master":
        hint = "name the primary, or its Sentinels (redis+sentinel://)"
        return fail("redis.role", f"the server is a {seen.facts.role}: it takes no writes", hint)
    return ok("redis.role", "primary")


def _persistence(seen: Examined) -> Finding:
    facts = seen.facts
    if not (facts.snapshot_ok and facts.append_only_ok):
        hint = "free its disk and look into its log; it may refuse writes until then"
        return fail("redis.persistence", "the server could not write its data to disk", hint)
    if facts.append_only:
        return ok("redis.persistence", "append-only file")
    kept = f"snapshots only ({seen.snapshots})" if seen.snapshots else "nothing is kept on disk"
    if seen.snapshots is None:
        kept = "no append-only file, and it does not tell its snapshots"
    hint = "set appendonly yes: commands of other programs that nobody has read are lost with the server; ours are not"
    return warn("redis.persistence", kept, hint)


def _eviction(seen: Examined) -> Finding:
    policy = seen.facts.eviction_policy or "unknown"
    if policy != NOEVICTION:
        hint = "set maxmemory-policy noeviction: this one throws away streams that nobody has read"
        return fail("redis.eviction", policy, hint)
    return ok("redis.eviction", policy)


def _memory(seen: Examined) -> Finding:
    used, limit = seen.facts.used_memory, seen.facts.max_memory
    if not limit:
        return ok("redis.memory", f"{used / (1 << 20):.1f} MiB used, no limit")
    shown = f"{used / (1 << 20):.1f} MiB used of {limit / (1 << 20):.1f} MiB"
    hint = "raise maxmemory, or lower forum.redis.retention_hours and forum.redis.max_entries"
    if used >= limit * FULL:
        return fail("redis.memory", f"{shown}: writes are refused", hint)
    return warn("redis.memory", shown, hint) if used >= limit * NEARLY_FULL else ok("redis.memory", shown)


def _owner(seen: Examined, database_id: str | None, case: Case) -> Finding:
    owner, claim, here = seen.owner, seen.claim, str(case.database.resolve())
    hint = "give each project a database number of its own: the number at the end of forum.redis.url"
    if owner is None and claim and claim.database_id != database_id and claim.database_path != here:
        freed = f"{hint}; if nobody needs its streams any more, free it: redis-cli DEL {CLAIM}"
        return fail("redis.owner", f"the namespace belongs to {claim.describe()}, which is not served now", freed)
    if owner is None:
        if case.served and case.seen is not None:
            told = "the daemon takes it again within five seconds; look at its log if not"
            return warn("redis.owner", "nobody holds the namespace, though a daemon runs", told)
        return ok("redis.owner", "nobody uses this database number")
    if owner.database_id != database_id or owner.database_path != here:
        return fail("redis.owner", f"the namespace belongs to {owner.describe()}", hint)
    return ok("redis.owner", f"ours, instance {owner.instance_id} of process {owner.pid} on {owner.host}")


def _clock(seen: Examined) -> Finding:
    shown = f"the server's clock is {seen.ahead_seconds:+.3f} s off ours"
    if abs(seen.ahead_seconds) > SKEW_SECONDS:
        return warn("redis.clock", shown, "set both by NTP: retention is counted by both")
    return ok("redis.clock", shown)


def _groups(policy: Policy, url: str) -> Iterator[Finding]:
    redis, prefixes = policy.forum.redis, policy.forum.topics
    topics = Topics(prefixes.command_prefix, prefixes.event_prefix, prefixes.integration_prefix, redis.stream)
    named = [topics.feed, *(topics.command(spec.name) for spec in COMMANDS), *(topics.event(f.TYPE) for f in FACTS)]
    try:
        groups, sick = examine_groups(url, list(dict.fromkeys(named)))
    except Unavailable as error:
        yield fail("redis.streams", error.message, "look at redis.ping")
        return
    if sick:
        shown = "; ".join(f"{topic}: {why}" for topic, why in sick.items())
        yield fail("redis.streams", shown, "another program uses this name: delete that key, or use another number")
    own = [group for group in groups if group.belongs_to(redis.group)]
    yield _lag("redis.groups", own, "look at health and the log; a stopped daemon catches up when it starts")
    foreign = [group for group in groups if not group.belongs_to(redis.group)]
    hint = "start its reader, or XGROUP DESTROY it; what is older than the retention is trimmed all the same"
    yield _lag("redis.foreign-groups", foreign, hint)


def _lag(name: str, groups: list[GroupInfo], hint: str) -> Finding:
    late = [group for group in groups if _is_late(group)]
    if late:
        return warn(name, "; ".join(map(_shown, late[:5])) + (" ..." if len(late) > 5 else ""), hint)
    return ok(name, f"{len(groups)} groups, none is behind" if groups else "there is none")


def _is_late(group: GroupInfo) -> bool:
    waiting = group.pending + (1 if group.lag is None else group.lag)
    unread = group.idle_seconds is None or group.idle_seconds > IDLE_SECONDS
    return waiting > MOST_BEHIND or (waiting > 0 and unread) or (group.lag is None and group.overtaken)


def _shown(group: GroupInfo) -> str:
    lag = "an unknown number" if group.lag is None else str(group.lag)
    return f"{group.name} on {group.topic}: {lag} unread, {group.pending} pending"
