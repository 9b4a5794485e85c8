"""Whether what waits in the outbox may still be told.

A row's seal says that the verifier wrote it, not when: what is not sealed (tries, delivered or not) can be
edited, a row of once be put back, and the marks of what was delivered be set back with it. So nothing in the
database can tell that a notification is old; the ledger can, whose end is known outside of it. Before a
notification about a host is handed out it is compared with what the ledger says last of that host:

- "trusted" is told only while it is true: the ledger says it last, and by its newest result the host is
  trusted now. It waits where the lease is over, as long as nothing else was told. Where the host is something
  else by now it is never told: what comes behind it says so, and names it as the state before.
- Any other state is told however long it had to wait: that a host was not trusted for a while is what people
  and orchestrators have to hear, whatever came after it; who hears it twice trusts too little, not too much.
- What takes a host out of service, which no message brings back, is carried out only when the ledger says the
  state last, or when what it says last waits behind it.

Somebody who writes to the database can therefore have a bad state told once more, or not at all, but never a
host called trusted that is not, and none disabled that is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import Connection

from xentpm_lib.verifier.ledger_readers import read_state_change, read_unenrolled
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.store.ledger import Ledger
from xentpm_lib.verifier.store.results import Results
from xentpm_lib.verifier.store.shown import last_shown, newest_entries

__all__ = ["Fate", "Timely", "is_renewal"]

_KINDS = ("state_changed", "host_seen", "host_removed", "host_enrolled")
_ABOUT_A_STATE = ("state_changed", "renewed")
_RENEWED = "renewed"
_DISABLING = "disable_host"  # the built-in channel of that name

Row = dict[str, Any]
Behind = Callable[[Row], Row | None]


class Fate(Enum):
    """What becomes of a row that waits. HELD: not now."""

    TOLD = "told"
    HELD = "held"
    OUTDATED = "outdated"


class _Said(NamedTuple):
    """What the ledger says last of a host. since: seconds since 1970."""

    state: str
    since: float

    def by(self, row: Row) -> bool:
        """Whether a row tells just that."""
        return _told(row) == self.state and row["created_at"] >= self.since


class Timely:
    """The fates of one store's rows. Works in the transaction of the connection that it is given."""

    def __init__(self, entries: Ledger, results: Results) -> None:
        self._entries = entries
        self._results = results

    def fates(
        self, connection: Connection, rows: Sequence[Row], now: float, behind: Behind
    ) -> dict[int, Fate]:
        """Sequence to fate, of rows whose seals hold. behind: the last one that waits of a row's channel and
        host. now: seconds since 1970.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``: an entry of the ledger was altered.
        """
        hosts = {row["host_id"] for row in rows if row["host_id"] and _told(row)}
        said, enrolled = self._said(connection, hosts)
        good = {host for host, last in said.items() if last.state == State.TRUSTED.value}
        trusted = self._trusted(connection, good, enrolled, now)
        return {
            row["sequence"]: _fate(row, said.get(row["host_id"]), row["host_id"] in trusted, behind)
            for row in rows
        }

    def _said(
        self, connection: Connection, hosts: Collection[str]
    ) -> tuple[dict[str, _Said], dict[str, float]]:
        """What the ledger says last of these hosts, and when they were enrolled."""
        said: dict[str, _Said] = {}
        enrolled: dict[str, float] = {}
        for entry in newest_entries(self._entries, connection, _KINDS, hosts, each_kind=True):
            host = entry.subject
            if entry.kind == "state_changed":
                change = read_state_change(host, entry.body)
                said[host] = _Said(change.new.value, change.at)
            elif entry.kind == "host_seen":
                said[host] = _Said(State.NOT_ENROLLED.value, read_unenrolled(host, entry.body).seen_at)
            elif entry.kind == "host_removed":
                said[host] = _Said(State.NOT_ENROLLED.value, 0.0)
            else:
                enrolled[host] = float(entry.body["enrolled_at"])
        return said, enrolled

    def _trusted(
        self, connection: Connection, hosts: Collection[str], enrolled: dict[str, float], now: float
    ) -> set[str]:
        """Those of the hosts that are trusted now by their newest result."""
        if not hosts:
            return set()
        latest = self._results.latest(connection, last_shown(self._entries, connection, hosts), hosts)
        return {
            host
            for host, stored in latest.items()
            if not stored.altered and _holds(stored.result, enrolled.get(host, 0.0), now)
        }


def is_renewal(row: Row) -> bool:
    """Whether a row only renews what is marked on a host."""
    return bool(_body(row).get("event") == _RENEWED)


def _holds(result: AttestationResult, enrolled_at: float, now: float) -> bool:
    return result.state is State.TRUSTED and enrolled_at <= result.appraised_at <= now < result.expires_at


def _fate(row: Row, last: _Said | None, trusted: bool, behind: Behind) -> Fate:
    told = _told(row)
    if last is None or not told:
        return Fate.TOLD  # about no state of a host; whatever is, has an entry from the same transaction
    if told == State.TRUSTED.value:
        if not last.by(row):
            return Fate.OUTDATED
        return Fate.TOLD if trusted else Fate.HELD
    if last.by(row) or row["channel"] != _DISABLING:
        return Fate.TOLD
    after = behind(row)
    in_order = after is not None and after["sequence"] > row["sequence"] and last.by(after)
    return Fate.TOLD if in_order else Fate.OUTDATED


def _told(row: Row) -> str:
    """The state that a row tells of its host; empty when it is about something else."""
    body = _body(row)
    return str(body.get("state", "")) if body.get("event") in _ABOUT_A_STATE else ""


def _body(row: Row) -> dict[str, Any]:
    try:
        body = json.loads(row["body"])
    except (ValueError, TypeError, RecursionError):  # where no seal was looked at
        return {}
    return body if isinstance(body, dict) else {}
