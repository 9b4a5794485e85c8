"""``group``, ``asset-tag``: what the verifier is told of a host."""

from __future__ import annotations

import argparse

from xentpm_lib.verifier.cli import words
from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.operations import hosts

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_command(
        commands,
        "group",
        _group,
        "put hosts into a group of alike ones",
        "xentpm-attest group rack7 host1 host2\nxentpm-attest group rack7",
        "The hosts of a group share a policy, and the baselines assigned to the group. Without hosts it"
        " tells who is"
        " in the group.",
    )
    group.add_argument("group", metavar="GROUP", type=words.label)
    group.add_argument("hosts", nargs="*", metavar="HOST", help="names or UUIDs")
    tag = add_command(
        commands,
        "asset-tag",
        _asset_tag,
        "tell which asset tag a host should have",
        "xentpm-attest asset-tag host1 3502bc94a908ca6afecbb38ee5d1f00a6737fa6b\nxentpm-attest asset-tag"
        " host1 --none",
        "It does not set the tag in the host's TPM: that does `xe host-call-plugin …"
        " fn=tpm_set_asset_tag`, or"
        " `xentpm --tpm_set_asset_tag` on the host.",
    )
    tag.add_argument("host", metavar="HOST", help="name or UUID")
    value = tag.add_mutually_exclusive_group()
    value.add_argument("tag", nargs="?", type=words.tag, metavar="TAG", help="40, 64 or 96 hex digits")
    value.add_argument("--none", action="store_true", help="expect none")


def _group(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        members = hosts.put_into_group(station, arguments.group, arguments.hosts)
    names = [host.name for host in members]
    if out.as_json:
        out.document(
            {"group": arguments.group, "hosts": [{"uuid": h.host_id, "name": h.name} for h in members]}
        )
    else:
        out.text(f"{arguments.group}: {', '.join(names) if names else 'no hosts'}")
    if arguments.hosts:
        out.note_effect()
    return 0


def _asset_tag(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        if arguments.tag or arguments.none:
            host = hosts.expect_asset_tag(station, arguments.host, arguments.tag)
        else:
            host = hosts.named(station, arguments.host)
    tag = host.asset_tag.hex() if host.asset_tag else None
    if out.as_json:
        out.document({"host": {"uuid": host.host_id, "name": host.name}, "asset_tag": tag})
    else:
        out.text(f"{host.name}: {tag or 'no asset tag is expected'}")
    if arguments.tag or arguments.none:
        out.note_effect()
    return 0
