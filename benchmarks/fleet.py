"""How many hosts one `watch` attests in a minute, and what each costs it; benchmarks/README.md explains it.

The hosts are software attesters in another process (software_attesters.py), behind XAPI over TLS. The watch
is the real one, in a process of its own, on a station with a SQLite store and values for each host.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from software_attesters import PASSWORD, POOL_SIZE, ROOT, USERNAME, Attester, attesters

from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.records import EkTrust, HostRecord, PoolRecord, ReferenceValues, TlsTrust
from xentpm_lib.verifier.secret import Secret
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials

SIZES = (100, 1_000, 10_000)
DURATION_S = 60.0
LOAD = 6_000  # hosts a minute, at which the sizes are compared: what 100 hosts at the shortest period give
TARGET_HOSTS, TARGET_MIB, TARGET_GROWTH = 10_000, 250.0, 0.10

_WARM_UP_LIMIT_S = 600
_END_LIMIT_S = 60
_CHUNK = 500  # ledger entries in one transaction
_TICKS = os.sysconf("SC_CLK_TCK")
_POLICY = """\
version = 1
name = "benchmark"
boot = "uefi-grub"
[pcrs.sha256]
shared = [0, 2, 3, 4, 7]
per_host = [1, 8, 9]
extended = [0, 1, 2, 4, 7, 8, 9]
[event_log]
replay = "{replay}"
[keys]
ek = ["pinned"]
[timing]
period = "{period}"
jitter = 0.1
lease = "1h"
"""


@dataclass(frozen=True)
class Setting:
    """One measurement. period_s: 1 is as fast as it goes. hanging: pools whose hosts never answer."""

    hosts: int
    period_s: int
    duration_s: float
    latency_ms: float
    event_log: bool = False
    hanging: int = 0


@dataclass(frozen=True)
class Reading:
    """What was measured. hosts_a_minute: that were attested and stored.

    cpu_ms: of the verifier's process for each attestation; all that it does meanwhile is in it.
    late: hosts of pools that answer, without a result younger than two periods and a half at the end.
    """

    hosts: int
    hosts_a_minute: float
    cpu_ms: float
    cpu_share: float
    rss_mib: float
    threads: int
    store_mib: float
    trusted: int
    late: int


def measure(setting: Setting) -> Reading:
    """Set all up, let the first turn pass, and measure."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        home = Path(folder) / "station"
        with _attesters(setting) as served:
            _make_station(home, setting, served)
            with _watch(home) as process:
                _warm_up(process, home, setting)
                return _reading(process, home, setting)


@contextmanager
def _attesters(setting: Setting) -> Iterator[dict[str, Any]]:
    command = [sys.executable, str(Path(__file__).with_name("software_attesters.py"))]
    command += ["--hosts", str(setting.hosts), "--hanging", str(setting.hanging)]
    command += ["--latency-ms", str(setting.latency_ms), *(["--event-log"] if setting.event_log else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate(timeout=_END_LIMIT_S)


def _make_station(home: Path, setting: Setting, served: dict[str, Any]) -> None:
    """A station that has enrolled all hosts and captured each one's values."""
    with Station.init(home, "version = 1\n") as station:
        replay = "when_present" if setting.event_log else "ignored"
        policy = _POLICY.format(period=f"{setting.period_s}s", replay=replay)
        items = [ledger_bodies.policy_assigned("default", policy)]
        for pool_id, url in served["pools"].items():
            pool = PoolRecord(pool_id, f"pool {pool_id[:8]}", (url,), TlsTrust(served["certificate"]))
            items.append(ledger_bodies.pool_added(pool))
            station.store.put_credentials(pool_id, StoredCredentials(USERNAME, Secret(PASSWORD)))
        pools = list(served["pools"])
        now = time.time()
        for host in attesters(setting.hosts):
            items.append(ledger_bodies.host_enrolled(_record(host, pools[host.pool], now)))
            items.append(ledger_bodies.reference_added(_reference(host, now)))
        for start in range(0, len(items), _CHUNK):
            station.store.append_all(items[start : start + _CHUNK], who="benchmark")


def _record(host: Attester, pool_id: str, now: float) -> HostRecord:
    return HostRecord(
        host_id=host.uuid,
        pool_id=pool_id,
        name=host.name,
        system_uuid=host.uuid,
        ek=host.ek,
        ak=host.ak,
        ek_trust=EkTrust.PINNED,
        ek_certificate=None,
        enrolled_at=now,
        serial=0,
    )


def _reference(host: Attester, now: float) -> ReferenceValues:
    return ReferenceValues(
        reference_id=host.uuid,
        label="installed",
        origin="captured",
        created_at=now,
        created_by="benchmark",
        pcrs=host.pcrs,
        source_host=host.uuid,
        hosts=frozenset({host.uuid}),
    )


@contextmanager
def _watch(home: Path) -> Iterator[subprocess.Popen[str]]:
    """The verifier's process; ends as a service does."""
    command = [sys.executable, __file__, "--watch", str(home)]
    process = subprocess.Popen(command, cwd=ROOT, text=True)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        process.wait(_END_LIMIT_S)
        if time.monotonic() - started > 5:
            print("the watch took more than 5 s to end", file=sys.stderr)
    finally:
        process.kill()
        process.wait()


def _run_watch(home: Path) -> int:
    """What the verifier's process does."""
    import logging

    from xentpm_lib.verifier.fleet.watch import watch

    logging.basicConfig(level=os.environ.get("LOG", "WARNING"), format="%(asctime)s %(message)s")
    with Station.open(home) as station:
        watch(station)
    return 0


def _warm_up(process: subprocess.Popen[str], home: Path, setting: Setting) -> None:
    """Until every host that answers was attested once, and its identity was read: that is done once only."""
    wanted = setting.hosts - setting.hanging * POOL_SIZE
    deadline = time.monotonic() + _WARM_UP_LIMIT_S
    while _hosts_with_result(home) < wanted:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the watch does not get through its first turn")
        time.sleep(0.5)
    time.sleep(min(setting.period_s, 10))


def _query(home: Path, text: str, *values: object) -> Any:
    connection = sqlite3.connect(f"file:{home}/store.sqlite?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute(text, values).fetchone()[0]
    finally:
        connection.close()


def _hosts_with_result(home: Path) -> int:
    return int(_query(home, "SELECT count(*) FROM current"))


def _results(home: Path) -> int:
    return int(_query(home, "SELECT coalesce(max(id), 0) FROM results"))


def _reading(process: subprocess.Popen[str], home: Path, setting: Setting) -> Reading:
    began, first, cpu_s = time.monotonic(), _results(home), _cpu_s(process.pid)
    rss, threads = 0.0, 0
    duration_s = max(setting.duration_s, setting.period_s)  # every host has its turn
    while time.monotonic() - began < duration_s:
        time.sleep(0.5)
        status = _status(process.pid)
        rss, threads = max(rss, int(status["VmRSS"]) / 1024), max(threads, int(status["Threads"]))
    took, results, spent_s = time.monotonic() - began, _results(home) - first, _cpu_s(process.pid) - cpu_s
    newest = "FROM results WHERE id IN (SELECT max(id) FROM results GROUP BY host_id)"
    young = time.time() - max(2.5 * setting.period_s, 10)
    fresh = _query(home, f"SELECT count(*) {newest} AND at > ? AND state = 'trusted'", young)
    return Reading(
        hosts=setting.hosts,
        hosts_a_minute=60 * results / took,
        cpu_ms=1000 * spent_s / max(results, 1),
        cpu_share=spent_s / took,
        rss_mib=rss,
        threads=threads,
        store_mib=sum(file.stat().st_size for file in home.glob("store.sqlite*")) / 2**20,
        trusted=_query(home, f"SELECT count(*) {newest} AND state = 'trusted'"),
        late=setting.hosts - setting.hanging * POOL_SIZE - fresh,
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _status(pid: int) -> dict[str, str]:
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {words[0].rstrip(":"): words[1] for words in lines if len(words) > 1}


def _print_readings(title: str, readings: Sequence[Reading]) -> None:
    print(f"\n{title}\n")
    print("   hosts  hosts/min  CPU/host ms  CPU %  RSS MiB  threads  store MiB  trusted   late")
    for one in readings:
        print(
            f"{one.hosts:8,}  {one.hosts_a_minute:9,.0f}  {one.cpu_ms:11.2f}  {100 * one.cpu_share:5.0f}"
            f"  {one.rss_mib:7.0f}  {one.threads:7}  {one.store_mib:9.0f}  {one.trusted:7,}  {one.late:5,}"
        )


def _print_growth(readings: Sequence[Reading]) -> None:
    """How CPU and memory grow with the number of hosts."""
    first, last = readings[0], readings[-1]
    growth = last.cpu_ms / first.cpu_ms - 1
    more = last.hosts - first.hosts
    print(f"\nFrom {first.hosts:,} to {last.hosts:,} hosts:")
    print(f"  CPU per host {growth:+.0%} (at most {TARGET_GROWTH:+.0%}: {_yes(growth <= TARGET_GROWTH)})")
    print(f"  memory {1024 * (last.rss_mib - first.rss_mib) / more:.1f} KiB a host")


def _print_targets(reading: Reading) -> None:
    print(f"\nWith {reading.hosts:,} hosts:")
    reached = _yes(reading.hosts_a_minute >= TARGET_HOSTS)
    print(f"  {reading.hosts_a_minute:,.0f} hosts a minute (at least {TARGET_HOSTS:,}: {reached})")
    reached = _yes(reading.rss_mib < TARGET_MIB)
    print(f"  {reading.rss_mib:.0f} MiB (less than {TARGET_MIB:.0f}: {reached})")


def _yes(reached: bool) -> str:
    return "yes" if reached else "NO"


def _settings(args: argparse.Namespace) -> list[Setting]:
    """Each size at the same load: a host's cost depends on the load, too, and only the size shall differ."""
    return [
        Setting(
            hosts,
            max(1, round(60 * hosts / args.load)),
            args.duration,
            args.latency_ms,
            args.event_log,
        )
        for hosts in sorted(args.hosts)
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--hosts", type=int, nargs="+", default=SIZES, help="how many (default: 100 1000 10000)"
    )
    parser.add_argument("--duration", type=float, default=DURATION_S, help="seconds of each measurement")
    parser.add_argument("--load", type=int, default=LOAD, help="hosts a minute where sizes are compared")
    parser.add_argument("--period", type=int, default=60, help="seconds between attestations, at full load")
    parser.add_argument("--latency-ms", type=float, default=100, help="how long a host takes to answer")
    parser.add_argument("--event-log", action="store_true", help="hosts send an event log, which is replayed")
    parser.add_argument("--flat-out", action="store_true", help="as fast as it goes, with the largest size")
    parser.add_argument("--no-hanging", action="store_true", help="without the pools that hang")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.watch:
        return _run_watch(Path(args.watch))
    settings = _settings(args)
    readings = [measure(setting) for setting in settings]
    found: dict[str, Sequence[Reading]] = {f"sizes, at {args.load:,} hosts a minute": readings}
    last = replace(settings[-1], period_s=args.period)
    full = measure(last)
    found[f"each host every {args.period} s"] = [full]
    if args.flat_out:
        found["flat out"] = [measure(replace(last, period_s=1))]
    if not args.no_hanging and last.hosts > 2 * POOL_SIZE:
        hanging = max(1, last.hosts // POOL_SIZE // 10)
        found[f"{hanging} pools hang"] = [measure(replace(last, hanging=hanging))]
    if args.json:
        print(json.dumps({title: [asdict(one) for one in rows] for title, rows in found.items()}))
        return 0
    for title, rows in found.items():
        _print_readings(title, rows)
    if len(readings) > 1:
        _print_growth(readings)
    _print_targets(full)
    return 0


if __name__ == "__main__":
    sys.exit(main())
