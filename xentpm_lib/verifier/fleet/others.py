"""What other processes stored meanwhile: `attest` works beside a `watch`, and both tell of changes."""

from __future__ import annotations

import logging

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.roster import Roster
from xentpm_lib.verifier.fleet.states import States, Transition
from xentpm_lib.verifier.ledger_readers import read_state_change
from xentpm_lib.verifier.store.model import END_NOT_NOTED, StoredResult
from xentpm_lib.verifier.store.store import Store

__all__ = ["follow", "is_written", "renewed_by_others", "take_up"]

_LOG = logging.getLogger(__name__)


def is_written(error: Exception) -> bool:
    """Whether what the store complains of is written all the same, only not where the ledger ends now.

    A watch goes on then, and says so again and again.
    """
    written = isinstance(error, StoreError) and error.code == END_NOT_NOTED
    if written:
        _LOG.error("%s", error)
    return written


def take_up(states: States, stored: StoredResult) -> None:
    """Go on from what is stored of a host, be it only that it was altered."""
    if stored.altered:
        states.restore_altered(stored.result)
    else:
        states.restore(stored.result, stored.clock)


def follow(store: Store, roster: Roster, states: States, seen: int) -> int:
    """Take in what is new: what counts, into the roster; changes of state behind entry ``seen``, into the
    states. Returns the number of the last entry.

    seen: number of the last entry whose change of state is known, be it only because this process wrote it.

    Raises:
        StoreError: the store cannot be used.
    """
    for entry in store.entries(after=min(seen, roster.registry.seq)):
        roster.take(entry)
        if entry.seq <= seen:
            continue
        if entry.kind == "state_changed":
            change = read_state_change(entry.subject, entry.body)
            states.told(entry.subject, change.new, change.at)
            _restore(store, states, entry.subject)
        seen = entry.seq
    return seen


def renewed_by_others(store: Store, states: States, lapse: Transition) -> bool:
    """Whether a lease that ended here was renewed by another process; then the states know of it now.

    Raises:
        StoreError: the store cannot be used.
    """
    _restore(store, states, lapse.host_id)
    return not states.has_lapsed(lapse.host_id, lapse.at)


def _restore(store: Store, states: States, host_id: str) -> None:
    stored = store.latest(host_id).get(host_id)
    if stored is not None:
        take_up(states, stored)
