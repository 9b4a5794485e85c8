"""``init``, ``enroll``, ``forget``: which hosts the station watches."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xentpm_lib.verifier.cli import prompts, words
from xentpm_lib.verifier.cli.credentials import add_login_options, chosen_login
from xentpm_lib.verifier.cli.grammar import Commands, Parser, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import make_station, open_station
from xentpm_lib.verifier.cli.tls import add_trust_options, chosen_trust
from xentpm_lib.verifier.cli.words import advice
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.enrolment.enrol import Enrolled
from xentpm_lib.verifier.findings import advice_for
from xentpm_lib.verifier.operations import enrolment, hosts
from xentpm_lib.verifier.operations.enrolment import EnrolRequest
from xentpm_lib.verifier.operations.pools import known_login
from xentpm_lib.verifier.operations.station_use import find_pool, only_pool

__all__ = ["add"]

_ERROR = 1

_ENROLL = """\
xentpm-attest enroll https://pool.example.com --ek-ca /etc/xentpm-attest/ek-ca
xentpm-attest enroll https://pool.example.com --ca pool.pem --username attest \\
    --password-file /root/pool-password --policy uefi-grub --group rack7
xentpm-attest enroll pool1 --replace --host host2 --ek-ca /etc/xentpm-attest/ek-ca"""
_ENROLL_MORE = """\
One URL enrols all hosts of the pool. Each host has to prove that its keys are in one TPM, and its
endorsement key has to be certified (--ek-ca) or known (--ek-pin); on first use it is believed only where
the policy says so.

The password comes from --password-file, else from the variable XENTPM_PASSWORD, else it is asked for. It
is kept encrypted with the station's key, unless --keep-password says otherwise."""


def add(commands: Commands) -> None:
    """Add the commands."""
    add_command(
        commands,
        "init",
        _init,
        "make this station's directory, keys and store",
        "xentpm-attest init",
        "The directory holds the keys that results are signed with: put it into the backup, and let nobody"
        " read it.",
    )
    _add_enroll(commands)
    forget = add_command(
        commands,
        "forget",
        _forget,
        "stop watching a host",
        "xentpm-attest forget host2",
        "What was recorded about it is kept: see history UUID. Taking it up again needs a new enrolment. With"
        " the last host of a pool the pool and its password are forgotten, once the marks are taken off its"
        " hosts or that is given up; the same command with the host's UUID tries it again.",
    )
    forget.add_argument("host", metavar="HOST", help="name or UUID")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    forget.add_argument(
        "--now",
        action="store_true",
        help="do not wait for a pool that does not answer; its hosts keep the marks",
    )


def _add_enroll(commands: Commands) -> None:
    enroll = add_command(
        commands, "enroll", _enroll, "take a pool's hosts under watch, or a host anew", _ENROLL, _ENROLL_MORE
    )
    enroll.add_argument(
        "pool",
        metavar="URL",
        nargs="?",
        help="of any host of the pool; later its name will do, or nothing where there is one pool",
    )
    add_trust_options(enroll)
    _add_key_options(enroll)
    enroll.add_argument("--policy", metavar="NAME|FILE", help="assign this policy to the group")
    enroll.add_argument("--group", type=words.label, help="put the hosts into this group (default: default)")
    enroll.add_argument("--host", action="append", default=[], help="only this host; may be repeated")
    enroll.add_argument(
        "--replace",
        action="store_true",
        help="enrol hosts anew, also with other keys or another UUID than before, and a pool that has moved",
    )
    add_login_options(enroll)


def _add_key_options(enroll: Parser) -> None:
    enroll.add_argument(
        "--ek-ca",
        action="append",
        default=[],
        metavar="FILE|DIR",
        help="certificates of TPM makers, PEM or DER: roots, and intermediates that hosts do not send",
    )
    enroll.add_argument(
        "--ek-pin",
        action="append",
        default=[],
        metavar="SHA256|FILE",
        help="known endorsement keys: the SHA-256 of one (DER), or a file with keys or fingerprints",
    )


def _init(arguments: argparse.Namespace, out: Output) -> int:
    home = make_station(arguments)
    if out.as_json:
        out.document({"home": str(home)})
    else:
        out.text(f"The station is in {home}.")
        out.note(f"Channels and store are configured in {home / 'station.toml'}.")
        out.note("Next: xentpm-attest enroll https://POOL --ek-ca FILE-OR-DIRECTORY")
    return 0


def _enroll(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        known = find_pool(station, arguments.pool) if arguments.pool else only_pool(station)
        url = known.addresses[0] if known else words.checked_url(arguments.pool)
        EkAnchors.load(arguments.ek_ca, arguments.ek_pin)  # their mistakes come before all questions
        tls = chosen_trust(arguments, url, known.tls if known else None)
        login = chosen_login(arguments, url, known_login(station, known))
        request = EnrolRequest(
            url=url,
            tls=tls,
            login=login,
            ek_ca=tuple(map(Path, arguments.ek_ca)),
            ek_pins=tuple(arguments.ek_pin),
            policy=arguments.policy,
            group=arguments.group,
            hosts=tuple(arguments.host),
            replace=arguments.replace,
        )
        with out.progress("enrolling") as progress:
            done = enrolment.enrol(
                station, request, progress.expect, lambda one: progress.advance(one.info.name)
            )
        new = enrolment.without_baseline(station, done)
    if out.as_json:
        out.document(_enrolment_json(done))
    else:
        _tell_enrolment(done, out)
        if new:
            out.note(
                f"Next, if known to be good: xentpm-attest baseline capture {' '.join(new)} --label LABEL"
            )
        elif done.complete:
            out.note("Next: xentpm-attest attest")
    return 0 if done.complete else _ERROR


def _tell_enrolment(done: enrolment.Enrolment, out: Output) -> None:
    for path in done.skipped:
        out.note(f"passed over: {path}")
    if done.policy_assigned and any(one.host for one in done.hosts):
        out.note(f"The group {done.group} is appraised by the policy {done.policy.name} from now on.")
    for change in done.pool_changes:
        out.note(f"The pool {done.pool.name} is changed: {change}.")
    out.table(["HOST", "UUID", "OUTCOME", "ENDORSEMENT KEY"], [_row(one) for one in done.hosts])
    for one in done.hosts:
        if one.error is not None:
            hint = advice_for(one.error.hint or advice(one.error), done.words[one.info.uuid])
            out.note(
                f"{one.info.name}: not enrolled: {one.error.message}" + (f"\nhint: {hint}" if hint else "")
            )
        for warning in one.host.warnings if one.host else ():
            out.note(f"{one.info.name}: warning: {warning}")


def _outcome(one: Enrolled) -> str:
    if one.host is None:
        return "failed"
    if one.host.updated:
        return "updated"
    if one.host.same_keys:
        return "enrolled anew, same keys"
    return "unchanged" if one.host.unchanged else "replaced" if one.host.replaced else "enrolled"


def _row(one: Enrolled) -> list[str]:
    why = one.host.why if one.host else ""
    return [one.info.name, one.info.uuid, _outcome(one), why]


def _enrolment_json(done: enrolment.Enrolment) -> dict[str, Any]:
    return {
        "pool": {"uuid": done.pool.pool_id, "name": done.pool.name, "addresses": list(done.pool.addresses)},
        "pool_changes": list(done.pool_changes),
        "group": done.group,
        "policy": done.policy.name,
        "hosts": [
            {
                "uuid": one.info.uuid,
                "name": one.info.name,
                "outcome": _outcome(one),
                "ek_trust": one.host.record.ek_trust.value if one.host else None,
                "why": one.host.why if one.host else None,
                "warnings": list(one.host.warnings) if one.host else [],
                "error": {"code": one.error.code, "message": one.error.message} if one.error else None,
            }
            for one in done.hosts
        ],
    }


def _forget(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        if hosts.was_forgotten(station, arguments.host):
            host_id = name = arguments.host.lower()
            told = hosts.finish_forgetting(station, arguments.now)
        else:
            host = hosts.found(station, arguments.host)
            host_id, name = host.host_id, host.name
            if not arguments.yes:
                prompts.confirm(
                    f"Stop watching {name} ({host_id})?",
                    f"{name} is watched as before",
                    "--yes forgets it without a question.",
                )
            told = hosts.forget(station, host, arguments.now)
    if out.as_json:
        out.document({"uuid": host_id, "name": name})
    else:
        out.text(f"{name} is not watched any more.")
        out.note(f"What was recorded of it: xentpm-attest history {host_id}")
    for sentence in told:
        out.note(sentence)
    return 0
