"""Writing down what an enrolment found out. It took its time, so all that it rests on is looked at again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.enrolment.enrol import Enrolled, NewHost, Rules, still_good
from xentpm_lib.verifier.errors import EnrolmentError, StoreError
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import CHANGED, StoredCredentials

__all__ = ["Findings", "write"]

_TRIES = 10  # to write while others do
_AGAIN = "Look again, and repeat the command."


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out, and what it rests on.

    pool_before: the pool's record when that began; policy_before: the policy of the group ``rules.group``, or
    None. assign: the administrator gives ``rules.policy`` to the group, whatever it had.
    group: into which known hosts are put, too; None for where they are.
    """

    pool: PoolRecord
    pool_before: PoolRecord | None
    hosts: tuple[Enrolled, ...]
    rules: Rules
    policy_before: Policy | None
    assign: bool
    group: str | None
    login: StoredCredentials


def write(station: Station, found: Findings) -> tuple[Enrolled, ...]:
    """Write it down, as far as it still holds: the hosts as they were enrolled, or with an error.

    1. Hosts are compared with those that are enrolled now; one that somebody else has changed is an error.
    2. Pool and policy are as they were when the hosts were judged.
    3. Nobody writes between this and the entries; else it begins anew.

    A host's enrolment counts from now on: no result of before is one of these keys.

    Raises:
        EnrolmentError: ``XENTPM_POOL_CHANGED``: somebody else has changed the pool's record meanwhile.
        StoreError: ``XENTPM_STORE_CHANGED``: the same of the policy; or the store cannot be used.
    """
    for _ in range(_TRIES):
        station.refresh()
        hosts = _checked(station, found)
        written = [one.host for one in hosts if one.host is not None]
        if not written:
            return hosts
        _check_pool(station, found)
        items = [
            *_pool_items(station, found.pool),
            *_policy_items(station, found),
            *(item for host in written for item in _host_items(host, found.group)),
        ]
        try:
            _append(station, found, items)
        except StoreError as error:
            if error.code != CHANGED:
                raise
            continue  # by somebody who was faster; perhaps it is about another host
        station.refresh()
        return hosts
    raise StoreError("others write all the time; nothing was enrolled", _AGAIN, CHANGED)


def _checked(station: Station, found: Findings) -> tuple[Enrolled, ...]:
    rules = replace(found.rules, known=station.registry.hosts())
    return tuple(_checked_host(one, rules) for one in found.hosts)


def _checked_host(one: Enrolled, rules: Rules) -> Enrolled:
    if one.host is None:
        return one
    try:
        return replace(one, host=still_good(one.host, rules))
    except EnrolmentError as error:
        return Enrolled(one.info, error=error)


def _check_pool(station: Station, found: Findings) -> None:
    if station.registry.find_pool(found.pool.pool_id) not in (found.pool_before, found.pool):
        raise EnrolmentError(
            f"somebody else has changed the record of the pool {found.pool.name} meanwhile; nothing was"
            " enrolled",
            _AGAIN,
            "XENTPM_POOL_CHANGED",
        )


def _pool_items(station: Station, pool: PoolRecord) -> tuple[LedgerItem, ...]:
    known = station.registry.find_pool(pool.pool_id)
    if known is None:
        return (ledger_bodies.pool_added(pool),)
    return () if known == pool else (ledger_bodies.pool_changed(pool),)


def _policy_items(station: Station, found: Findings) -> tuple[LedgerItem, ...]:
    group = found.rules.group
    if not found.assign:
        now = _policy_of(station, group)
        if now is not None and now.digest == found.rules.policy.digest:
            return ()
        if now is not None or found.policy_before is not None:
            message = f"somebody else gave the group {group} another policy meanwhile; nothing was enrolled"
            raise StoreError(message, _AGAIN, CHANGED)
    return (ledger_bodies.policy_assigned(group, found.rules.policy.text),)


def _policy_of(station: Station, group: str) -> Policy | None:
    try:
        return station.registry.policy_of_group(group)
    except PolicyError:
        return None


def _host_items(host: NewHost, group: str | None) -> Sequence[LedgerItem]:
    record = host.record
    items = []
    if host.updated:
        items.append(ledger_bodies.host_updated(record))
    elif not host.unchanged:
        new = replace(record, group=group or record.group, enrolled_at=time.time())
        items.append(ledger_bodies.host_enrolled(new))
    if host.same_record and group not in (None, record.group):
        items.append(ledger_bodies.host_group(record.host_id, group))
    return items


def _append(station: Station, found: Findings, items: Sequence[LedgerItem]) -> None:
    """The entries and the log-in. A pool that is new has its log-in first, lest a watch finds it without."""
    pool_id, registry = found.pool.pool_id, station.registry
    new = registry.find_pool(pool_id) is None
    if new:
        station.store.put_credentials(pool_id, found.login)
    station.store.append_all(items, who=who(), after=registry.seq)
    if not new:
        station.store.put_credentials(pool_id, found.login)
