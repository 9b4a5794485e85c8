"""Why a host is what it is: the last result, with all that the store knows beside it."""

from __future__ import annotations

import time

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.explain import Known, explain
from xentpm_lib.verifier.explanation import Explanation
from xentpm_lib.verifier.fleet.states import state_at
from xentpm_lib.verifier.operations.baselines import event_logs
from xentpm_lib.verifier.station import Station

__all__ = ["explain_host"]

_HISTORY = 1000  # results that are looked through for when it began


def explain_host(station: Station, word: str) -> Explanation:
    """Explain the host of a name or UUID. Raises: UsageError when it was never attested, StoreError."""
    host = station.registry.host(word)
    stored = station.store.latest().get(host.host_id)
    if stored is None:
        hint = f"xentpm-attest attest {station.registry.word_for(host.host_id)}"
        raise UsageError(f"{host.name} was never attested", hint)
    now = time.time()
    ids = {used.id for used in stored.result.references}
    references = [one for one in station.registry.references() if one.reference_id in ids]
    evidence = None if stored.altered else station.store.evidence(stored.result_id)
    earlier = station.store.history(host.host_id, _HISTORY)
    known = Known.of_stored(
        evidence,
        references or station.registry.references_for(host),
        event_logs(station, references),
        [one.result for one in earlier],
    )
    return explain(stored.result, now, known, state_at(host, stored.result, now))
