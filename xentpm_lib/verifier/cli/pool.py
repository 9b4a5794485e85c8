"""``pool``: the pools, how their servers are recognised, and how the station logs in."""

from __future__ import annotations

import argparse

from xentpm_lib.verifier.cli.credentials import add_login_options, chosen_login
from xentpm_lib.verifier.cli.grammar import Commands, add_command, add_group
from xentpm_lib.verifier.cli.output import Output, tell
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.tls import add_trust_options, chosen_trust
from xentpm_lib.verifier.operations import pools
from xentpm_lib.verifier.operations.station_use import pool_named
from xentpm_lib.verifier.records import PoolRecord, TlsTrust

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "pool",
        "pools, their certificates and passwords",
        "xentpm-attest pool list\nxentpm-attest pool password pool1",
    )
    add_command(group, "list", _list, "list the pools", "xentpm-attest pool list")
    pin = add_command(
        group,
        "pin",
        _pin,
        "recognise a pool's servers by another certificate",
        "xentpm-attest pool pin pool1\nxentpm-attest pool pin pool1 --ca new-ca.pem",
        "After a certificate was replaced on purpose. It replaces what was trusted before. The certificate of"
        " the pool's present master is shown; those of the others come from it.",
    )
    pin.add_argument("pool", metavar="POOL", help="its name, UUID, or URL as in pool list")
    add_trust_options(pin)
    login = add_command(
        group,
        "password",
        _password,
        "log in to a pool by another password or user",
        "xentpm-attest pool password pool1\nxentpm-attest pool password pool1 --password-file"
        " /root/new-password",
        "It is tried before it is kept.",
    )
    login.add_argument("pool", metavar="POOL", help="its name, UUID, or URL as in pool list")
    add_login_options(login)


def _list(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        found = pools.listing(station)
    if out.as_json:
        out.document([one.to_object() for one in found])
    elif found:
        rows = [[one.name, one.url, str(one.hosts), one.recognised_by, one.login] for one in found]
        out.table(["POOL", "URL", "HOSTS", "RECOGNISED BY", "LOGIN"], rows)
    else:
        out.note("There are no pools. Next: xentpm-attest enroll https://POOL …")
    return 0


def _pin(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        pool = pool_named(station, arguments.pool)
        changed = pools.pin(station, pool, _trust(arguments, pool))
    return _tell(out, changed.pool_id, f"{changed.name}: its servers are recognised by what was given now.")


def _trust(arguments: argparse.Namespace, pool: PoolRecord) -> TlsTrust:
    """What was given, else the certificate of the present master, once it is confirmed."""
    if arguments.ca or arguments.pin:
        return chosen_trust(arguments, pool.addresses[0], None)
    master = pools.present_master(pool)
    if master != pool.addresses[0]:
        tell(f"The master of {pool.name or pool.pool_id} is {master} now.")
    return chosen_trust(arguments, master, None)


def _password(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        pool = pool_named(station, arguments.pool)
        known = pools.known_login(station, pool)
        login = chosen_login(arguments, pool.addresses[0], known, fresh=True)
        pools.set_login(station, pool, login)
    return _tell(out, pool.pool_id, f"{pool.name}: the pool accepts the password; it is kept.")


def _tell(out: Output, pool_id: str, text: str) -> int:
    if out.as_json:
        out.document({"pool": pool_id})
    else:
        out.text(text)
    return 0
