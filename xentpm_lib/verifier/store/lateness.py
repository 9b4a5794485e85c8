"""Results that come late: a host was attested again, and that was stored, while they were on their way."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.findings import LASTING
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.store.head import Head
from xentpm_lib.verifier.store.model import CHANGED
from xentpm_lib.verifier.store.results import Results
from xentpm_lib.verifier.store.tables import current, results

__all__ = ["LateResults", "check_lateness", "check_unchanged"]

_CHUNK = 500  # hosts asked for at a time


class LateResults(StoreError):
    """Some results of a batch are older than the newest ones of their hosts. places: theirs in the batch."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(f"{len(places)} results are older than what is stored", "Attest the hosts again.")
        self.places = tuple(places)


def check_lateness(
    connection: Connection, kept: Results, batch: Sequence[AttestationResult], now: float
) -> None:
    """Whether each result is the newest of its host; within the transaction that is to store them.

    One that is from the future by the clock of now is no measure: it was made while the clock was wrong. Nor
    is one of another enrolment, or one that was altered. What lasts until the host is enrolled anew is not
    late at any time.

    Raises:
        LateResults: some are not.
    """
    newest = _newest(connection, sorted({one.host_id for one in batch}))
    late = []
    for place, result in enumerate(batch):
        known = newest.get(result.host_id)
        if known is not None and result.appraised_at < known <= now and not _lasts(result):
            if _is_measure(connection, kept, result):
                late.append(place)
    if late:
        raise LateResults(late)


def _newest(connection: Connection, hosts: Sequence[str]) -> dict[str, float]:
    """When the hosts were attested last, as the rows say that nobody has looked at yet."""
    found: dict[str, float] = {}
    joined = current.join(results, current.c.result_id == results.c.id)
    for start in range(0, len(hosts), _CHUNK):
        wanted = current.c.host_id.in_(hosts[start : start + _CHUNK])
        query = select(current.c.host_id, results.c.at).select_from(joined).where(wanted)
        rows = connection.execute(query).all()
        found.update((row.host_id, row.at) for row in rows if isinstance(row.at, float))
    return found


def _is_measure(connection: Connection, kept: Results, result: AttestationResult) -> bool:
    """Whether the host's newest stored result is as it was written, of this enrolment, and newer."""
    stored = kept.latest(connection, {}, result.host_id).get(result.host_id)
    if stored is None or stored.altered or stored.result.host_serial != result.host_serial:
        return False
    return stored.result.appraised_at > result.appraised_at


def _lasts(result: AttestationResult) -> bool:
    return any(one.failed and one.code in LASTING for one in result.findings)


def check_unchanged(last: Head, after: int | None) -> None:
    """What was decided on the ledger up to entry ``after`` still rests on all of it. None: it rests on none.

    Raises:
        StoreError: ``XENTPM_STORE_CHANGED``: there are entries behind it.
    """
    if after is not None and after != last.seq:
        message = "somebody else has changed something meanwhile: entry {}".format(last.seq)
        raise StoreError(message, "Look again, and repeat the command.", CHANGED)
