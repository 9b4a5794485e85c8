"""``hosts``, ``show``: the fleet, and one host of it."""

from __future__ import annotations

import argparse
import time

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output, clean
from xentpm_lib.verifier.cli.states_text import (
    UNENROLLED,
    exit_status,
    unenrolled_json,
    view_json,
    view_reason,
)
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.words import ago, clock_time, span
from xentpm_lib.verifier.explain import explain_unenrolled
from xentpm_lib.verifier.explanation import TEXT_WIDTH
from xentpm_lib.verifier.operations import choice, hosts
from xentpm_lib.verifier.operations.hosts import HostView
from xentpm_lib.verifier.records import EkTrust, PoolRecord, UnenrolledHost
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.result_text import DEFAULT_WIDTH, result_to_text

__all__ = ["add"]

_EK_TRUST = {
    EkTrust.CERTIFICATE: "certified by the TPM's maker",
    EkTrust.PINNED: "pinned",
    EkTrust.FIRST_USE: "trusted on first use: nobody vouches for it",
}


def add(commands: Commands) -> None:
    """Add the commands."""
    listing = add_command(
        commands,
        "hosts",
        _hosts,
        "list the hosts and their state",
        "xentpm-attest hosts\nxentpm-attest hosts --state untrusted-measurement --json",
        "It tells what the last attestations found; it asks no host. Exit status 3 if one is not trusted"
        " now.",
    )
    listing.add_argument("--group", help="only of this group")
    listing.add_argument("--pool", help="only of this pool, by name or URL")
    listing.add_argument(
        "--state",
        choices=[state.value for state in State],
        metavar="STATE",
        help="only in this state, such as stale",
    )
    show = add_command(
        commands,
        "show",
        _show,
        "show all that is known of a host",
        "xentpm-attest show host2",
        "Its keys, its state and the findings of its last attestation. Exit status 3 if it is not trusted"
        " now.",
    )
    show.add_argument("host", metavar="HOST", help="name or UUID")


def _hosts(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        if not station.registry.hosts() and not out.as_json:
            out.note("No host is enrolled. Next: xentpm-attest enroll https://POOL …")
            return 0
        try:
            chosen = choice.chosen_hosts(station, (), arguments.group, arguments.pool)
        except UsageError:
            if station.registry.hosts():
                raise
            chosen = []
        found = hosts.views(station, chosen)
        others = hosts.unenrolled(station, arguments.pool) if arguments.group is None else []
        pools = {pool.pool_id: pool for pool in station.registry.pools()}
        now = time.time()
    if arguments.state:
        found = [view for view in found if view.state.value == arguments.state]
        others = others if arguments.state == State.NOT_ENROLLED.value else []
    if out.as_json:
        unenrolled = [unenrolled_json(host, pools[host.pool_id]) for host in others]
        out.document([view_json(view) for view in found] + unenrolled)
    else:
        unenrolled_rows = [_unenrolled_row(host, pools[host.pool_id].name, now) for host in others]
        out.table(
            ["HOST", "POOL", "GROUP", "STATE", "SINCE", "ATTESTED", "WHY"],
            [_row(view, now) for view in found] + unenrolled_rows,
            drop=["POOL", "GROUP", "ATTESTED", "SINCE"],
            cut=True,
        )
    return exit_status([view.state for view in found] + [State.NOT_ENROLLED] * len(others))


def _row(view: HostView, now: float) -> list[str]:
    attested = view.result.appraised_at if view.result is not None else None
    return [
        view.host.name,
        view.pool.name,
        view.host.group,
        view.state.value,
        ago(view.since, now),
        ago(attested, now) or "never",
        view_reason(view, now),
    ]


def _unenrolled_row(host: UnenrolledHost, pool: str, now: float) -> list[str]:
    state = State.NOT_ENROLLED.value
    return [host.name, pool, "", state, ago(host.seen_at, now), "never", UNENROLLED]


def _show_unenrolled(host: UnenrolledHost, pool: PoolRecord, out: Output) -> int:
    if out.as_json:
        out.document(unenrolled_json(host, pool))
    else:
        out.text(explain_unenrolled(host, pool).text(out.columns(TEXT_WIDTH)))
    return exit_status([State.NOT_ENROLLED])


def _show(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        host = hosts.found(station, arguments.host)
        if isinstance(host, UnenrolledHost):
            return _show_unenrolled(host, station.registry.pool(host.pool_id), out)
        view = hosts.view(station, arguments.host)
        baselines = [one.label for one in station.registry.references_for(view.host)]
    if out.as_json:
        keys = {
            "ek_trust": view.host.ek_trust.value,
            "ek_pem": view.host.ek.pem(),
            "ak_pem": view.host.ak.pem(),
        }
        more = {
            "system_uuid": view.host.system_uuid or None,
            "enrolled_at": view.host.enrolled_at,
            "keys": keys,
        }
        out.document({**view_json(view), **more, "baselines": baselines})
    else:
        out.text(
            "\n".join(f"{name:<18}{clean(value)}" for name, value in _fields(view, baselines, time.time()))
        )
        if view.result is not None:
            out.text("\n" + result_to_text(view.result, out.columns(DEFAULT_WIDTH), view.state, view.word))
        else:
            out.note(f"Next: xentpm-attest attest {view.word}")
    return exit_status([view.state])


def _fields(view: HostView, baselines: list[str], now: float) -> list[tuple[str, str]]:
    host, result = view.host, view.result
    fields = [
        ("Host", f"{host.name} ({host.host_id})"),
        ("Pool", f"{view.pool.name} ({view.pool.addresses[0]})"),
        ("Group", host.group),
        ("Policy", view.policy or "none: its group has no policy, so it cannot be trusted"),
        ("State", f"{view.state.value} since {clock_time(view.since)}" if view.since else view.state.value),
        ("Endorsement key", f"{_key(host.ek)}, {_EK_TRUST[host.ek_trust]}"),
        ("Attestation key", f"{_key(host.ak)}, Name {host.ak.name().hex()[:16]}…"),
        ("System UUID", host.system_uuid or "not known"),
        ("Enrolled", clock_time(host.enrolled_at)),
        ("Asset tag", host.asset_tag.hex() if host.asset_tag else "none is expected"),
        ("Baselines", ", ".join(baselines) or "none: xentpm-attest baseline capture"),
    ]
    if result is not None and result.expires_at > now:
        fields.append(("Result holds for", span(result.expires_at - now)))
    return fields


def _key(public: object) -> str:
    curve, bits = getattr(public, "curve", None), getattr(public, "key_bits", None)
    return f"ECC {str(curve).upper().replace('NIST_P', 'P-')}" if curve else f"RSA {bits}"
