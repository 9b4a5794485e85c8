"""``policy``: check, list, show, assign what hosts have to show to be trusted."""

from __future__ import annotations

import argparse
from pathlib import Path

from xentpm_lib.verifier.cli import words
from xentpm_lib.verifier.cli.grammar import Commands, add_command, add_group
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.operations import policies

__all__ = ["add"]

_ERROR = 1


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "policy",
        "what a host has to show to be trusted",
        "xentpm-attest policy list\nxentpm-attest policy show uefi-grub > rack7.toml\n"
        "sed -i 's/^name = .*/name = \"rack7\"/' rack7.toml\n"
        "xentpm-attest policy check rack7.toml\nxentpm-attest policy assign rack7.toml --group rack7",
    )
    check = add_command(
        group,
        "check",
        _check,
        "tell every mistake in a policy file",
        "xentpm-attest policy check rack7.toml",
        "Exit status 1 if there is one. It needs no station.",
    )
    check.add_argument("file", metavar="FILE", help="a policy, TOML")
    add_command(
        group,
        "list",
        _list,
        "list the ready policies, and which group has which",
        "xentpm-attest policy list",
    )
    show = add_command(
        group,
        "show",
        _show,
        "print a policy's text",
        "xentpm-attest policy show uefi-grub\nxentpm-attest policy show --group rack7",
    )
    what = show.add_mutually_exclusive_group(required=True)
    what.add_argument("name", nargs="?", metavar="NAME", help="a ready policy")
    what.add_argument("--group", help="the policy that this group has")
    assign = add_command(
        group,
        "assign",
        _assign,
        "let a group be appraised by a policy",
        "xentpm-attest policy assign uefi-grub\nxentpm-attest policy assign rack7.toml --group rack7",
        "The text is copied: a change of the file counts only when it is assigned again.",
    )
    assign.add_argument("policy", metavar="NAME|FILE", help="a ready policy, or a TOML file")
    assign.add_argument("--group", type=words.label, default="default", help="(default: %(default)s)")


def _check(arguments: argparse.Namespace, out: Output) -> int:
    checked = policies.check(Path(arguments.file))
    if out.as_json:
        mistakes = [{"path": one.path, "message": one.message, "hint": one.hint} for one in checked.mistakes]
        out.document({"file": arguments.file, "good": checked.policy is not None, "mistakes": mistakes})
    elif checked.policy is not None:
        policy = checked.policy
        out.text(f"{arguments.file}: good. Policy {policy.name}: {policy.title}")
        if policies.is_misnamed(policy):
            out.note(
                f"A ready policy that says something else is called {policy.name}, too: change the name."
            )
        out.note(f"Next: xentpm-attest policy assign {arguments.file} --group GROUP")
    else:
        for mistake in checked.mistakes:
            out.text(f"{arguments.file}: {mistake}" + (f"\n    {mistake.hint}" if mistake.hint else ""))
    return 0 if checked.policy is not None else _ERROR


def _list(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        found = policies.listing(station)
    if out.as_json:
        out.document([{"name": one.name, "title": one.title, "groups": list(one.groups)} for one in found])
        return 0
    rows = [[one.name, "ready" if one.ready else "own", ", ".join(one.groups), one.title] for one in found]
    out.table(["POLICY", "KIND", "GROUPS", "TITLE"], rows)
    return 0


def _show(arguments: argparse.Namespace, out: Output) -> int:
    if arguments.name is not None:
        policy = policies.ready(arguments.name)
    else:
        with open_station(arguments) as station:
            policy = station.registry.policy_of_group(arguments.group)
    if out.as_json:
        out.document(
            {"name": policy.name, "title": policy.title, "digest": policy.digest, "text": policy.text}
        )
    else:
        out.text(policy.text.rstrip("\n"))
    return 0


def _assign(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        policy = policies.assign(station, arguments.policy, arguments.group)
    if out.as_json:
        out.document({"group": arguments.group, "policy": policy.name, "digest": policy.digest})
    else:
        out.text(f"The group {arguments.group} is appraised by {policy.name} from now on.")
    out.note_effect()
    return 0
