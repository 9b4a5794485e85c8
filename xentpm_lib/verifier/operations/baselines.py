"""Baselines, that is reference values: which there are, for whom they count, and how they travel."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.appraisal.components import component
from xentpm_lib.verifier.files import open_file
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.operations.shown_values import Values, boot_path, differences, of_host, of_reference
from xentpm_lib.verifier.operations.station_use import append, who
from xentpm_lib.verifier.records import ReferenceValues
from xentpm_lib.verifier.reference.diff import Difference
from xentpm_lib.verifier.reference.exchange import MAX_EXPORT_LENGTH, export_signed, import_signed
from xentpm_lib.verifier.reference.trusted_keys import MAX_KEYS_LENGTH, read_trusted_keys
from xentpm_lib.verifier.station import Station

__all__ = [
    "assign",
    "bare_hosts",
    "compare",
    "described",
    "export",
    "find",
    "listing",
    "retire",
    "take_over",
    "unassign",
]

_SHOWN = 10  # names in a hint


def find(station: Station, word: str) -> ReferenceValues:
    """The baseline of an identifier, of 8 or more characters of it, a label, or ``LABEL@HOST``.

    Raises:
        UsageError: there is none, or there are several.
    """
    try:
        return station.registry.reference(word)
    except UsageError as error:
        label, at, name = word.rpartition("@")
        same = [one for one in station.registry.references() if one.label == word]
        if len(same) > 1:
            raise UsageError(error.message, f"Give one of these: {_names(station, same)}.") from error
        if not at:
            raise
    host = station.registry.host(name)
    found = [one for one in station.registry.references() if one.label == label and host.host_id in one.hosts]
    active = [one for one in found if one.retired_at is None]
    if len(active) == 1 or (found and not active):
        return (active or found)[-1]
    identifiers = ", ".join(one.reference_id[:8] for one in found[:_SHOWN])
    hint = f"Give one of these: {identifiers}." if found else "See xentpm-attest baseline list."
    raise UsageError(f"{len(found)} baselines of {host.name} are labelled {label!a}", hint)


def _names(station: Station, references: Sequence[ReferenceValues]) -> str:
    """What each of them can be called, and no other one."""
    own = [_host_labels(station, one) for one in references]
    labels = [name for names in own for name in names]
    found = []
    for one, names in zip(references, own, strict=True):
        name = next((name for name in names if labels.count(name) == 1), one.reference_id[:8])
        found.append(name if one.retired_at is None else f"{name} (retired)")
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(sorted(found)[:_SHOWN]) + more


def _host_labels(station: Station, reference: ReferenceValues) -> list[str]:
    known = [host for host in station.registry.hosts() if host.host_id in reference.hosts]
    return [f"{reference.label}@{station.registry.word_for(host.host_id)}" for host in known]


def listing(station: Station, host: str | None, retired: bool) -> list[ReferenceValues]:
    """The baselines, oldest first. host: only those that count for it. Raises: UsageError."""
    registry = station.registry
    found = registry.references() if host is None else registry.references_for(registry.host(host))
    return [one for one in found if retired or one.retired_at is None]


def described(station: Station, reference: ReferenceValues) -> list[tuple[str, int, str, str]]:
    """Bank, register, value in hex and component of each value that is not all-zero or all-FF."""
    boot = boot_path(station, reference)
    return [
        (bank, pcr, value.hex(), component(boot, pcr))
        for bank, values in reference.pcrs.items()
        for pcr, value in sorted(values.items())
        if set(value) not in ({0}, {0xFF})
    ]


def compare(station: Station, first: str, second: str) -> tuple[Difference, ...]:
    """Where two of baselines and hosts differ. Raises: UsageError, StoreError."""
    return differences(_values(station, first), _values(station, second))


def retire(station: Station, word: str) -> ReferenceValues:
    """Let a baseline count for nobody any more. Raises: UsageError, StoreError."""
    reference = _active(station, word)
    return _change(station, reference, ledger_bodies.reference_retired(reference.reference_id, time.time()))


def bare_hosts(station: Station, reference: ReferenceValues) -> list[str]:
    """The hosts for which the baseline counted, and now none does, as words for a command."""
    registry = station.registry
    concerned = [
        host for host in registry.hosts() if host.host_id in reference.hosts or host.group in reference.groups
    ]
    return [registry.word_for(host.host_id) for host in concerned if not registry.references_for(host)]


def assign(station: Station, word: str, hosts: Sequence[str], groups: Sequence[str]) -> ReferenceValues:
    """Let a baseline count for more hosts and groups. Raises: UsageError, StoreError."""
    reference = _active(station, word)
    ids, names = _targets(station, hosts, groups)
    return _change(station, reference, ledger_bodies.reference_assigned(reference.reference_id, ids, names))


def unassign(station: Station, word: str, hosts: Sequence[str], groups: Sequence[str]) -> ReferenceValues:
    """Let a baseline count no more for hosts and groups. Raises: UsageError, StoreError."""
    reference = _active(station, word)
    ids, names = _targets(station, hosts, groups)
    return _change(station, reference, ledger_bodies.reference_unassigned(reference.reference_id, ids, names))


def export(station: Station, words: Sequence[str]) -> str:
    """A file with baselines that the station signs. Raises: UsageError, StoreError."""
    chosen = [_active(station, word) for word in words]
    key = station.keys.signing_key
    return export_signed(chosen, key, who(), time.time(), event_logs(station, chosen))


def take_over(
    station: Station, file: Path, key: Path, hosts: Sequence[str], groups: Sequence[str]
) -> tuple[ReferenceValues, ...]:
    """Take in the baselines of a file that ``key`` has signed, and assign them.

    Raises:
        EvidenceError: the key has not signed it. FormatError: it is no such file.
        UsageError: it is here already; no key in the file; a host that is not known.
        StoreError, OSError.
    """
    targets = _targets(station, hosts, groups) if hosts or groups else (set[str](), set[str]())
    trusted = read_trusted_keys(_read(key, MAX_KEYS_LENGTH))
    known = {one.reference_id for one in station.registry.references()}
    imported = import_signed(_read(file, MAX_EXPORT_LENGTH), trusted, who(), time.time(), known)
    for log in imported.event_logs.values():
        station.store.put_blob(log)
    items: list[LedgerItem] = []
    for one in imported.references:
        items.append(ledger_bodies.reference_added(one))
        if any(targets):
            items.append(ledger_bodies.reference_assigned(one.reference_id, *targets))
    station.store.append_all(items, who=who())
    station.refresh()
    return tuple(station.registry.reference(one.reference_id) for one in imported.references)


def event_logs(station: Station, references: Sequence[ReferenceValues]) -> Mapping[str, bytes]:
    """The firmware event logs that baselines name, by SHA-256, as far as the store has them."""
    names = {one.event_log for one in references if one.event_log}
    found = ((name, station.store.get_blob(name)) for name in sorted(names))
    return {name: log for name, log in found if log is not None}


def _values(station: Station, word: str) -> Values:
    try:
        return of_reference(station, find(station, word))
    except UsageError as no_reference:
        try:
            host = station.registry.host(word)
        except UsageError:
            raise no_reference from None
    return of_host(station, host)


def _active(station: Station, word: str) -> ReferenceValues:
    """The baseline that is meant; of several with that label the one that is not retired."""
    same = [one for one in station.registry.references() if one.label == word and one.retired_at is None]
    reference = same[0] if len(same) == 1 else find(station, word)
    if reference.retired_at is not None:
        hint = "It cannot come back: capture or approve what the host shows now."
        raise UsageError(f"{reference.label!a} is retired", hint)
    return reference


def _targets(station: Station, hosts: Sequence[str], groups: Sequence[str]) -> tuple[set[str], set[str]]:
    if not hosts and not groups:
        raise UsageError("no host and no group was named", "Add --host HOST or --group GROUP.")
    known = station.registry.groups()
    for group in groups:
        if group not in known:
            hint = f"There are: {', '.join(known)}. A new one begins with its policy: policy assign."
            raise UsageError(f"there is no group {group!a}", hint)
    return {station.registry.host(host).host_id for host in hosts}, set(groups)


def _change(station: Station, reference: ReferenceValues, item: LedgerItem) -> ReferenceValues:
    append(station, item)
    return station.registry.reference(reference.reference_id)


def _read(path: Path, limit: int) -> str:
    with open_file(path) as file:
        data = file.read(limit + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text", "Give what the other station's command wrote.") from error
