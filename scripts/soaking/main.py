"""The command behind scripts/soak."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import page_parts
from attrs import asdict
from benchmarks import report as machines

from metawsm.streams.transport import RedisTransport
from soaking import report, verdict
from soaking.faults import Faults
from soaking.load import Load, publish
from soaking.samples import Sampler
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import check_database, database, read_models, rebuild
from tests.support.redis_tcp import free_port, start_redis_tcp

ROOT = Path(__file__).resolve().parents[2]
EXPECTED_PER_SECOND, TIMES = 1.0, 150.0  # writes that a busy team makes; what is asked for instead
MOST_ENTRIES = 20_000  # kept in a stream: small, so that trimming is seen within minutes
EVENTS_PER_WRITE = 1.5
QUIET_SECONDS = 25.0  # without faults at the end, under load
KEPT = 5  # of so many samples one goes into the file


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Run the built daemon under mixed load and random faults, judge the outcome by the ledger, and"
        " write DIR/reliability-soak.json, DIR/images/soak-*.svg and the part of DIR/reliability.md between its marks."
        " The daemon is killed in the first third; its last process lives to the end, so that its memory can be seen.",
    )
    parser.add_argument("minutes", type=float, metavar="MINUTES")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the order of faults and the mix of requests")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", metavar="DIR", help="default: docs")
    parser.add_argument(
        "--artifact", type=Path, default=ROOT / "dist" / "metawsm.pyz", help="default: dist/metawsm.pyz"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder and leave it, with the log")
    parser.add_argument("--pause", type=float, default=10.0, help="mean seconds between two faults (0: no faults)")
    return parser.parse_args()


class Soak:
    """One run."""

    def __init__(self, asked: argparse.Namespace, folder: Path, parts: ExitStack) -> None:
        self._asked = asked
        self._seconds = asked.minutes * 60
        self._folder = folder
        self._server = start_redis_tcp(_made(folder / "redis"), free_port(), "--appendonly", "yes")
        parts.callback(self._server.kill)
        self._daemon = self._start_daemon()
        parts.callback(self._daemon.end)
        url, rate = self._server.url, EXPECTED_PER_SECOND * TIMES
        self._load = Load(self._daemon.port, self._daemon.token, url, rate, asked.seed)
        self._begun = time.monotonic()
        self._sampler = Sampler(self._daemon, self._server.port, self._load.tally, self._begun)

    def _start_daemon(self) -> Daemon:
        """The built file is copied first: what is built meanwhile does not change what a restart starts."""
        policy = {"version": 2, "forum": {"redis": {"max_entries": MOST_ENTRIES}}}
        here = _made(self._folder / "project" / ".metawsm")
        (here / "policy.json").write_text(json.dumps(policy), encoding="utf-8")
        artifact = shutil.copy(self._asked.artifact, self._folder / "metawsm.pyz")
        cache = str(_made(self._folder / "cache"))
        command = [sys.executable, str(artifact)]
        return Daemon(command, here.parent, "--redis", self._server.url, env={"METAWSM_CACHE": cache})

    def run(self) -> dict[str, Any]:
        """Load and faults, then the reckoning."""
        self._load.start()
        faults = self._break_things()
        self._load.stop()
        wrong = [*faults.errors, *self._reckon()]
        self._sampler.close()
        for line in wrong[:20]:
            print(f"FAULT {line}", flush=True)
        return self._result(faults, wrong)

    def _break_things(self) -> Faults:
        pause = self._asked.pause or 1e9
        dice = random.Random(self._asked.seed)
        faults = Faults(self._daemon, self._server, dice, self._begun, self._seconds / 3, pause)
        self._tell_until(self._seconds - QUIET_SECONDS)
        faults.close()
        self._tell_until(self._seconds)
        return faults

    def _tell_until(self, end: float) -> None:
        while (now := time.monotonic() - self._begun) < end:
            time.sleep(min(15.0, end - now))
            last = self._sampler.samples[-1] if self._sampler.samples else {}
            shown = {
                name: last.get(name) for name in ("rss_mb", "files", "pending", "sent", "feed", "wal_mb", "p99_ms")
            }
            told = " ".join(f"{name}={value:,.0f}" for name, value in shown.items() if value is not None)
            print(f"{now:5.0f} s {self._load.ledger.counts()} {told}", flush=True)

    def _reckon(self) -> list[str]:
        """Settle what is unclear, then compare; every disagreement as a line."""
        eventually(self._daemon.is_ready, timeout=30)
        eventually(self._settled, timeout=300, interval=0.1)
        self._resend_external()
        eventually(self._all_done, timeout=120, interval=0.1)
        with database(self._daemon.database) as db:
            events = [(str(cause), str(payload)) for cause, payload in db.execute(EVENTS)]
            (self.head,) = next(iter(db.execute("SELECT max(sequence) FROM forum_events")))
            wrong = self._load.ledger.faults(events)
            before = read_models(db)
            wrong += _failure(check_database, db)
        time.sleep(2.0)
        rebuild(self._daemon, patience=240)
        with database(self._daemon.database) as db:
            after = read_models(db)
        wrong += [f"{table} differs from its rebuild" for table, rows in before.items() if rows != after[table]]
        return [*wrong, *self._followed()]

    def _settled(self) -> bool:
        ledger = self._load.ledger
        entries = ledger.unsettled()
        if not entries:
            return True
        with ThreadPoolExecutor(8) as threads:
            askers = [self._load.asker() for _ in range(8)]
            for number in range(8):
                threads.submit(lambda n: [ledger.answered(e, askers[n].write(e, 10.0)) for e in entries[n::8]], number)
        return not ledger.unsettled()

    def _resend_external(self) -> None:
        """A command that was in Redis when it was emptied is gone, as its publisher has to expect: it sends again."""
        transport = RedisTransport(self._server.url, "outside")
        for tag, payload in self._load.ledger.external().items():
            eventually(lambda tag=tag, payload=payload: publish(transport, tag, payload), timeout=10)
        transport.close()
        eventually(self._external_done, timeout=60, interval=0.2)

    def _external_done(self) -> bool:
        with database(self._daemon.database) as db:
            found = {tag for (tag,) in db.execute("SELECT message_id FROM forum_outbox WHERE message_id LIKE 'soak-%'")}
        return set(self._load.ledger.external()) <= found

    def _all_done(self) -> bool:
        outbox = self._daemon.request("GET", "/health").body["outbox"]
        return bool(outbox["pending_count"] == outbox["processing_count"] == 0)

    def _followed(self) -> list[str]:
        wrong = []
        for follower in self._load.followers:
            try:
                eventually(lambda follower=follower: follower.last >= self.head, timeout=30)
            except AssertionError:
                wrong.append(f"a follower ended at {follower.last} of {self.head}: {follower.failure}")
            follower.close()
            if follower.out_of_order:
                wrong.append(f"a follower got {follower.out_of_order} events out of order or not")
        return wrong

    def _result(self, faults: Faults, wrong: list[str]) -> dict[str, Any]:
        samples, counts = self._sampler.samples, self._load.ledger.counts()
        recoveries = [fault.healthy_after for fault in faults.done]
        rate = EXPECTED_PER_SECOND * TIMES * EVENTS_PER_WRITE
        found = verdict.checks(samples, wrong, recoveries, MOST_ENTRIES, rate, self._seconds)
        told = {"rate": EXPECTED_PER_SECOND * TIMES, "unclear": self._load.ledger.unclear, "events": self.head}
        told |= {"applied": counts.applied, "rejected": counts.rejected, "external": counts.external}
        return {
            "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": f"scripts/soak {self._asked.minutes:g} --seed {self._asked.seed}",
            "machine": f"{machines.hardware()}.",
            "load": told | {"followers": len(self._load.followers), "statuses": dict(self._load.tally.statuses)},
            "checks": [asdict(check) for check in found],
            "faults": [asdict(fault) for fault in faults.done],
            "wrong": wrong[:100],
            "samples": samples,
        }


EVENTS = "SELECT causation_id, payload_json FROM forum_events ORDER BY sequence"


def _failure(check: Any, *given: Any) -> list[str]:
    try:
        check(*given)
    except AssertionError as error:
        return [f"{check.__name__}: {str(error)[:300]}"]
    return []


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(result: dict[str, Any], out: Path) -> None:
    """The file, the pictures, and the page's part where there is a page."""
    _made(out)
    report.draw(result, out / "images")
    kept = result | {"samples": [_rounded(sample) for sample in result["samples"][::KEPT]]}
    (out / "reliability-soak.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    page = out / "reliability.md"
    if page.exists():
        page_parts.replace(page, "soak", report.page_part(result))


def _rounded(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in sample.items()}


def main() -> int:
    """Run, tell, write; 1 if anything is out of its bound."""
    asked = arguments()
    with ExitStack() as parts:
        folder = asked.keep or Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="mw-soak-")))
        result = Soak(asked, folder, parts).run()
    write(result, asked.out)
    for check in result["checks"]:
        print(f"{'held  ' if check['good'] else 'BROKEN'} {check['what']}: {check['got']} ({check['bound']})")
    return 0 if all(check["good"] for check in result["checks"]) else 1


if __name__ == "__main__":
    sys.exit(main())
