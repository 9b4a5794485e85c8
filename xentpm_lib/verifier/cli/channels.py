"""``channels``: who is told of changes, what is waiting, and a test."""

from __future__ import annotations

import argparse

from xentpm_lib.verifier.cli.grammar import Commands, add_command, add_group
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.words import clock_time
from xentpm_lib.verifier.operations import channels, cleaning

__all__ = ["add"]

_ERROR = 1


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "channels",
        "who is told of changes: state, test, clean",
        "xentpm-attest channels\nxentpm-attest channels test tickets",
        alone=_list,
    )
    add_command(
        group,
        "list",
        _list,
        "list the channels and what waits to be delivered",
        "xentpm-attest channels list",
        "Channels are the [[notify]] tables of station.toml in the station's directory.",
    )
    add_command(
        group,
        "clean",
        _clean,
        "take away what channels left behind that are not in station.toml any more",
        "xentpm-attest channels clean",
        "Tags and keys of xentpm are taken off all hosts of the known pools that are to have none: without a"
        " channel of type xapi_marks all, else those that are not enrolled. What waits for channels that are"
        " gone is given up. Start a running watch anew before: it reads station.toml at its start.",
    )
    test = add_command(group, "test", _test, "send a test message now", "xentpm-attest channels test tickets")
    test.add_argument("channel", metavar="CHANNEL", help="its name")
    test.add_argument("--host", help="where to leave the message, for a channel of messages on hosts")


def _list(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        found = channels.listing(station)
    if out.as_json:
        out.document([one.to_object() for one in found])
    elif found:
        rows = [
            [
                one.name,
                one.kind,
                one.state,
                str(one.waiting),
                str(one.given_up),
                clock_time(one.oldest),
                one.error,
            ]
            for one in found
        ]
        out.table(["CHANNEL", "TYPE", "STATE", "WAITING", "GIVEN UP", "SINCE", "LAST ERROR"], rows)
    else:
        out.note("There are no channels: station.toml has no [[notify]] table.")
    return 0


def _clean(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        done = cleaning.clean(station)
    if out.as_json:
        out.document({"hosts": list(done.hosts), "given_up": done.given_up, "problems": done.problems})
    else:
        for host_id, name in done.hosts.items():
            out.text(f"{name} ({host_id}): marks taken off")
        out.text(f"hosts cleaned: {len(done.hosts)}; notifications given up: {done.given_up}")
        for problem in done.problems:
            out.note(problem)
    return _ERROR if done.problems else 0


def _test(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        failure = channels.test(station, arguments.channel, arguments.host)
    if out.as_json:
        out.document({"channel": arguments.channel, "delivered": not failure, "error": failure or None})
    elif not failure:
        out.text(f"{arguments.channel}: delivered")
    else:
        out.note(f"xentpm-attest: {arguments.channel}: {failure}\nhint: Look at its table in station.toml.")
    return _ERROR if failure else 0
