"""What other processes stored meanwhile: `attest` works beside a `watch`, and both tell of changes."""

from __future__ import annotations

from collections.abc import Mapping

from xentpm_lib.verifier.fleet.states import States, Transition
from xentpm_lib.verifier.ledger_readers import read_state_change
from xentpm_lib.verifier.store.model import StoredResult
from xentpm_lib.verifier.store.store import Store

__all__ = ["CHANGED", "follow", "renewed_by_others", "take_up"]

CHANGED = "XENTPM_STORE_CHANGED"


def take_up(states: States, stored: StoredResult) -> None:
    """Go on from what is stored of a host, be it only that it was altered."""
    if stored.altered:
        states.restore_altered(stored.result)
    else:
        states.restore(stored.result, stored.clock)


def follow(store: Store, states: States, seen: int, own: Mapping[str, float]) -> int:
    """Take in the changes of state behind ledger entry ``seen``; the number of the last entry.

    own: host to the time of the last change that this process stored, which is known already.

    Raises:
        StoreError: the store cannot be used.
    """
    for entry in store.entries(after=seen):
        seen = entry.seq
        if entry.kind != "state_changed":
            continue
        change = read_state_change(entry.subject, entry.body)
        if own.get(entry.subject) != change.at:
            states.told(entry.subject, change.new, change.at)
            _restore(store, states, entry.subject)
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
