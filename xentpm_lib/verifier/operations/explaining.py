"""Why a host is what it is: the last result, with all that the store knows beside it."""

from __future__ import annotations

import time

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.explain import Known, explain, explain_unenrolled, stored_evidence
from xentpm_lib.verifier.explanation import Explanation
from xentpm_lib.verifier.findings import Finding
from xentpm_lib.verifier.operations.baselines import event_logs
from xentpm_lib.verifier.operations.hosts import found, views
from xentpm_lib.verifier.records import UnenrolledHost
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredResult

__all__ = ["explain_host"]

_PAGE = 500  # results that are read at a time


def explain_host(station: Station, word: str) -> Explanation:
    """Explain the host of a name or UUID. Raises: UsageError when it was never attested, StoreError."""
    host = found(station, word)
    if isinstance(host, UnenrolledHost):
        return explain_unenrolled(host, station.registry.pool(host.pool_id))
    stored = station.store.latest(host.host_id).get(host.host_id)
    if stored is None:
        hint = f"xentpm-attest attest {station.registry.word_for(host.host_id)}"
        raise UsageError(f"{host.name} was never attested", hint)
    (view,) = views(station, [host])
    ids = {used.id for used in stored.result.references}
    references = [one for one in station.registry.references() if one.reference_id in ids]
    evidence = None if stored.altered else station.store.evidence(stored.result_id)
    last = station.store.last_trusted(host.host_id)
    known = Known(
        stored_evidence(evidence),
        references or station.registry.references_for(host),
        event_logs(station, references),
        _earlier(station, stored),
        view.since,
        None if last is None else last.appraised_at,
    )
    return explain(stored.result, time.time(), known, view.state, view.word)


def _earlier(station: Station, newest: StoredResult) -> list[AttestationResult]:
    """The results before this one, newest first, back to one that has none of its failed findings: so it is
    known since when each of them is found."""
    failed = {_place(one) for one in newest.result.findings if one.failed}
    earlier: list[AttestationResult] = []
    before: int | None = newest.result_id
    while before is not None:
        page = station.store.history(newest.result.host_id, _PAGE, before)
        earlier += [one.result for one in page]
        goes_on = page and failed.intersection(map(_place, page[-1].result.findings))
        before = page[-1].result_id if goes_on else None
    return earlier


def _place(found: Finding) -> tuple[str, str]:
    return found.code, found.where
