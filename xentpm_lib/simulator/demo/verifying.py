"""The demo's steps on the management station: from enrolment to every kind of untrusted.

Each returns the lines to be shown: what was typed, and what the programs said.
"""

from __future__ import annotations

from collections.abc import Callable

from xentpm_lib.errors import EvidenceError
from xentpm_lib.simulator.demo.pool import DemoPool
from xentpm_lib.simulator.demo.receiver import Receiver
from xentpm_lib.simulator.demo.station import DemoStation, Said

__all__ = ["VERIFIER_STEPS", "Verifying"]

_UNTRUSTED = 3  # exit status
_LABEL = "installed"
_TRUSTED, _MEASUREMENT, _KEY, _OFF = "trusted", "untrusted-measurement", "untrusted-key", "unreachable"


class Verifying:
    """What the steps hand on to each other."""

    def __init__(self, pool: DemoPool, station: DemoStation, receiver: Receiver) -> None:
        self.pool = pool
        self.station = station
        self.receiver = receiver
        self.first, self.second = pool.hosts

    def attested(self, *states: str) -> Said:
        """``attest`` of both hosts, which have to have these states then. Raises: EvidenceError."""
        status = 0 if set(states) == {_TRUSTED} else _UNTRUSTED
        said = self.station.attest("attest", status=status)
        found = _column(said, "STATE")
        _require(found == list(states), f"the hosts are {found}, not {list(states)}")
        return said


def start_station(demo: Verifying) -> list[str]:
    """Step 10."""
    station = demo.station
    station.receive(demo.pool.certificates, demo.pool.ek_ca)
    made = station.attest("init")
    station.configure(demo.receiver.url, demo.receiver.secret)
    policy = station.attest("policy", "show", "uefi-grub").out.replace('"uefi-grub"', '"demo"', 1)
    text = policy.replace("[timing]", '[timing]\nbackoff = "100ms"')
    (station.desk / "demo.toml").write_text(text, "utf-8")
    assigned = station.attest("policy", "assign", "demo.toml")
    _require("appraised by demo" in assigned.out, "the policy is not assigned")
    return [*made.lines[:1], *assigned.lines]


def enrol(demo: Verifying) -> list[str]:
    """Step 11."""
    said = demo.station.attest("enroll", demo.pool.url, "--ca", "pool.pem", "--ek-ca", "tpm-makers")
    _require(_column(said, "OUTCOME") == ["enrolled", "enrolled"], "a host was not enrolled")
    return said.lines


def capture(demo: Verifying) -> list[str]:
    """Step 12."""
    return demo.station.attest("baseline", "capture", "--all", "--label", _LABEL).lines


def attest(demo: Verifying) -> list[str]:
    """Step 13."""
    return demo.attested(_TRUSTED, _TRUSTED).lines


def change_initrd(demo: Verifying) -> list[str]:
    """Step 14."""
    demo.pool.edit(demo.second, "initrd", "another line")
    demo.pool.reboot(demo.second)
    said = demo.attested(_TRUSTED, _MEASUREMENT)
    explained = demo.station.attest("explain", demo.second.name, status=_UNTRUSTED)
    _require("initrd" in explained.out, "the initrd is not named")
    return [*said.lines, explained.lines[0], *_first_finding(explained.out)]


def show_notifications(demo: Verifying) -> list[str]:
    """Step 15."""
    message = demo.pool.newest_message(demo.second)
    record = demo.pool.api.xenapi.host.get_record(demo.second.ref)
    told = demo.receiver.got[-1]
    _require("initrd" in message["body"], "the message does not name the component")
    _require("xentpm:untrusted" in record["tags"], "the host has no tag")
    _require((told["state"], told["host"]["name"]) == (_MEASUREMENT, demo.second.name), "another webhook")
    return [
        f"XAPI message, priority {message['priority']}: {message['body'].splitlines()[0]}",
        f"host tag:   {', '.join(record['tags'])}",
        f"webhook:    {told['event']}: {told['previous_state']} -> {told['state']} (signature holds)",
    ]


def approve(demo: Verifying) -> list[str]:
    """Step 16."""
    said = demo.station.attest("baseline", "approve", demo.second.name, "--yes", "--label", "new initrd")
    return [said.lines[0], said.lines[-1], *demo.attested(_TRUSTED, _TRUSTED).lines]


def replace_tpm(demo: Verifying) -> list[str]:
    """Step 17."""
    demo.pool.press("replace-tpm", demo.second)
    said = demo.attested(_TRUSTED, _KEY)
    again = demo.station.attest("enroll", "--replace", "--host", demo.second.name, "--ek-ca", "tpm-makers")
    _require(_column(again, "OUTCOME") == ["replaced"], "the host was not enrolled anew")
    return [*said.lines, again.lines[0], *demo.attested(_TRUSTED, _TRUSTED).lines]


def power_off(demo: Verifying) -> list[str]:
    """Step 18."""
    demo.pool.press("power-off", demo.second)
    return demo.attested(_TRUSTED, _OFF).lines


def show_history(demo: Verifying) -> list[str]:
    """Step 19."""
    said = demo.station.attest("history", demo.second.name)
    _require(said.out.count("->") >= 6, "the history is not complete")
    return said.lines


VERIFIER_STEPS: tuple[tuple[str, Callable[[Verifying], list[str]]], ...] = (
    ("A management station, and a policy", start_station),
    ("Enrolment: every host proves that its keys are in one TPM", enrol),
    ("Baseline: what the hosts show now is known to be good", capture),
    ("Attestation", attest),
    ("Somebody changes host2's initrd; host2 reboots", change_initrd),
    ("Who was told", show_notifications),
    ("The change was planned: it is approved", approve),
    ("host2 gets another TPM, and is enrolled anew", replace_tpm),
    ("host2 is powered off: unreachable is not tampered", power_off),
    ("All of it is on record", show_history),
)


def _column(said: Said, name: str) -> list[str]:
    """A column of a table, by its head."""
    head, *lines = said.out.splitlines()
    begin = head.index(name)
    following = head[begin:].partition("  ")[2].strip()  # the next column's head
    end = head.index(following, begin) if following else None
    return [line[begin:end].strip() for line in lines]


def _first_finding(text: str) -> list[str]:
    """The first numbered paragraph of an explanation, without its digests."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("1. ") or (found and line.startswith("   ")):
            found.append(line)
        elif found:
            break
    kept = [line for line in found if line.strip().startswith(("1.", "since", "changed:"))]
    return [line.partition(": was")[0] for line in kept]


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise EvidenceError(
            f"The demo went wrong: {otherwise}", "This is a defect of xentpm: please report it."
        )
