"""Policies: checking files, and giving them to groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.errors import PolicyError, UsageError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.files import open_file
from xentpm_lib.verifier.operations.station_use import append
from xentpm_lib.verifier.policy.loader import PolicyMistakes, load_policy, shipped, shipped_names
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.toml_reader import MAX_TOML_LENGTH, Mistake

__all__ = ["Checked", "Listed", "assign", "check", "is_misnamed", "listing", "load", "ready"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy file that was looked at. policy: None when there is a mistake."""

    policy: Policy | None
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A policy that ships (``ready``) or that a group has. groups: those that it is assigned to."""

    name: str
    title: str
    ready: bool
    groups: tuple[str, ...]


def check(path: Path) -> Checked:
    """Look at a file. Raises: UsageError when it is no file or no text; OSError."""
    try:
        return Checked(load_policy(_read(path), path.name))
    except PolicyMistakes as error:
        return Checked(None, error.mistakes)


def ready(name: str) -> Policy:
    """A policy that ships. Raises: PolicyError that lists them when there is none of that name."""
    if name not in shipped_names():
        known = ", ".join(shipped_names())
        raise PolicyError(
            f"there is no ready policy {name!a}; there are: {known}",
            "One of your own is shown by a group that has it: xentpm-attest policy show --group GROUP.",
        )
    return shipped(name)


def is_misnamed(policy: Policy) -> bool:
    """Whether it has the name of a ready policy and is another one, so that people take it for that."""
    return policy.name in shipped_names() and shipped(policy.name).digest != policy.digest


def load(word: str) -> Policy:
    """A ready policy by its name, else a file. Raises: PolicyError, UsageError, OSError."""
    if word in shipped_names():
        return shipped(word)
    path = Path(word)
    if not path.exists():
        known = ", ".join(shipped_names())
        raise PolicyError(
            f"there is no policy {word!a}, and no such file", f"Ready ones: {known}. Else give a file."
        )
    return load_policy(_read(path), word)


def assign(station: Station, word: str, group: str) -> Policy:
    """Let the hosts of a group be appraised by a policy. Raises: as ``load``, StoreError."""
    policy = load(word)
    append(station, ledger_bodies.policy_assigned(group, policy.text))
    return policy


def listing(station: Station) -> tuple[Listed, ...]:
    """The ready policies and those that groups have. Raises: PolicyError."""
    by_digest: dict[str, list[str]] = {}
    assigned: dict[str, Policy] = {}
    for group, policy in station.registry.policies().items():
        by_digest.setdefault(policy.digest, []).append(group)
        assigned[policy.digest] = policy
    listed = []
    for name in shipped_names():
        policy = shipped(name)
        assigned.pop(policy.digest, None)
        listed.append(Listed(name, policy.title, True, tuple(by_digest.get(policy.digest, ()))))
    own = [Listed(one.name, one.title, False, tuple(by_digest[digest])) for digest, one in assigned.items()]
    return (*listed, *own)


def _read(path: Path) -> str:
    with open_file(path) as file:
        data = file.read(4 * MAX_TOML_LENGTH + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is no text in UTF-8", "A policy is a TOML file: see docs/policy.md."
        ) from error
