"""``attest``: ask hosts now; ``watch``: ask them for ever."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.states_text import NOT_TRUSTED, UNENROLLED, exit_status, reason
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.targets import add_host_choice
from xentpm_lib.verifier.fleet.watch import watch
from xentpm_lib.verifier.operations import attesting, choice
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.result_json import result_to_object, unenrolled_to_object
from xentpm_lib.verifier.station import Station

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the commands."""
    attest = add_command(
        commands,
        "attest",
        _attest,
        "ask hosts for evidence now and judge it",
        "xentpm-attest attest\nxentpm-attest attest host1 host2 --json",
        "Without names all hosts are asked. Exit status 3 if one is not trusted: its evidence is bad, or"
        " there is none."
        " The results are kept, and changes are told to the channels.",
    )
    add_host_choice(attest)
    watching = add_command(
        commands,
        "watch",
        _watch,
        "attest all hosts again and again, until stopped",
        "xentpm-attest watch",
        "Each host's policy says how often. It tells of every change of state, and takes up by itself what"
        " other"
        " commands change: new hosts, baselines, policies. Ctrl-C or SIGTERM ends it. One runs for each"
        " store.",
    )
    watching.add_argument("--quiet", action="store_true", help="log warnings and errors only")


def _attest(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        hosts = choice.chosen_hosts(station, arguments.hosts, arguments.group, arguments.pool)
        with out.progress("asking hosts", len(hosts)) as progress:
            done = attesting.attest(
                station,
                hosts,
                lambda result: progress.advance(result.host_name),
                whole_pools=not arguments.hosts and arguments.group is None,
            )
        names = {pool.pool_id: pool.name for pool in station.registry.pools()}
        pools = {host.host_id: names[host.pool_id] for host in hosts}
    if out.as_json:
        unenrolled = [unenrolled_to_object(host) for host in done.unenrolled]
        out.document([result_to_object(result) for result in done.results] + unenrolled)
    else:
        rows = [
            [one.host_name, pools[one.host_id], one.state.value, reason(one.state, one)]
            for one in done.results
        ]
        rows += [
            [one.name, names[one.pool_id], State.NOT_ENROLLED.value, UNENROLLED] for one in done.unenrolled
        ]
        out.table(["HOST", "POOL", "STATE", "WHY"], rows, drop=["POOL"], cut=True)
        _tell_next(done, station, out)
    for problem in done.problems:
        out.note(problem)
    if done.failure is not None:
        raise done.failure
    all_asked = not (done.unjudged or done.unenrolled)
    return exit_status(result.state for result in done.results) if all_asked else NOT_TRUSTED


def _tell_next(done: attesting.Attested, station: Station, out: Output) -> None:
    bad = [result for result in done.results if result.state is not State.TRUSTED]
    if not bad:
        if done.unenrolled:
            out.note(f"Next: xentpm-attest explain {done.unenrolled[0].host_id}")
        return
    more = f" ({len(bad) - 1} more)" if len(bad) > 1 else ""
    if all(result.state is State.PENDING_APPROVAL for result in bad):
        out.note(
            "Next: xentpm-attest baseline capture HOST… --label LABEL, for hosts that are known to be good"
        )
    else:
        first = next(result for result in bad if result.state is not State.PENDING_APPROVAL)
        out.note(f"Next: xentpm-attest explain {station.registry.word_for(first.host_id)}{more}")


def _watch(arguments: argparse.Namespace, out: Output) -> int:
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s",
        level=logging.WARNING if arguments.quiet else logging.INFO,
        force=True,
    )
    with open_station(arguments) as station:
        if not station.registry.hosts():
            out.note("No host is enrolled yet; hosts that are enrolled from now on are watched.")
        watch(station, stored=_lines(out) if out.as_json else None)
    return 0


def _lines(out: Output) -> Callable[[AttestationResult, object], None]:
    """Tells each result as a line, until nobody reads them any more: that is no reason to end a watch."""
    reading = [True]

    def tell(result: AttestationResult, _change: object) -> None:
        try:
            if reading[0]:
                out.line(result_to_object(result))
        except (OSError, UsageError) as error:
            reading[0] = False
            logging.getLogger(__name__).error("nobody reads the results any more: %s", error)

    return tell
