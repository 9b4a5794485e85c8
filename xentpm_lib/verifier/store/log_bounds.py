"""How much of what a host writes itself is kept: its logs could fill the verifier's disk.

What an event says of itself, and events that extend nothing, can be anything and lead to the same PCR values.
So there is a bound for each host and day, whatever process stores its results and however often it boots.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.store.model import Recorded
from xentpm_lib.verifier.store.result_rows import evidence_columns
from xentpm_lib.verifier.store.tables import blobs, current, results

__all__ = ["LOG_BYTES_A_DAY", "LogBounds"]

LOG_BYTES_A_DAY = 4 * 1024 * 1024
"""Of logs of one host, before they are compressed. A server has 20 to 300 KiB for each boot."""
_DAY_S = 86_400.0
_CHUNK = 500  # hosts asked for at a time
_CONTENTS = ("evidence", "event_log")

_LOG = logging.getLogger(__name__)


class LogBounds:
    """Takes logs out of what is to be stored where a host has had its share. It is logged once for each."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def bounded(self, connection: Connection, batch: Sequence[Recorded], now: float) -> list[Recorded]:
        """The batch, without logs that are too much; within the transaction that is to store it."""
        known = _newest(connection, sorted({one.result.host_id for one in batch if _has_log(one)}))
        kept: dict[str, dict[bytes, int]] = {}  # host to content to size
        bounded = []
        for one in batch:
            host_id, sizes = one.result.host_id, _sizes(one)
            if sizes.keys() - known.get(host_id, set()):
                if host_id not in kept:
                    kept[host_id] = _of_a_day(connection, host_id, now - _DAY_S)
                one = self._within_the_share(one, sizes, kept[host_id])
            bounded.append(one)
        return bounded

    def _within_the_share(self, one: Recorded, sizes: dict[bytes, int], kept: dict[bytes, int]) -> Recorded:
        evidence, host_id = one.evidence, one.result.host_id
        together = {**kept, **sizes}
        if evidence is None or len(together) == len(kept) or sum(together.values()) <= LOG_BYTES_A_DAY:
            kept.update(sizes)
            return one
        if host_id not in self._told:
            self._told.add(host_id)
            name, bound = one.result.host_name, LOG_BYTES_A_DAY
            _LOG.warning("host %s (%s): a log is not kept: more than %d bytes a day", name, host_id, bound)
        return replace(one, evidence=_without_logs(evidence))


def _without_logs(evidence: QuoteEvidence) -> QuoteEvidence:
    return evidence._replace(untrusted_event_log=None, untrusted_boot_log=None)


def _has_log(one: Recorded) -> bool:
    return one.evidence is not None and _without_logs(one.evidence) != one.evidence


def _sizes(one: Recorded) -> dict[bytes, int]:
    """What is to be kept of a host's own words, by SHA-256; nothing where there is no log."""
    contents: dict[bytes, bytes] = {}
    if _has_log(one):
        evidence_columns(one.evidence, contents)
    return {sha256: len(data) for sha256, data in contents.items()}


def _newest(connection: Connection, hosts: Sequence[str]) -> dict[str, set[bytes]]:
    """The contents of the hosts' newest results, which are those of the next ones nearly always."""
    found: dict[str, set[bytes]] = {}
    joined = current.join(results, current.c.result_id == results.c.id)
    columns = [current.c.host_id, *(results.c[name] for name in _CONTENTS)]
    for start in range(0, len(hosts), _CHUNK):
        wanted = current.c.host_id.in_(hosts[start : start + _CHUNK])
        for host_id, *contents in connection.execute(select(*columns).select_from(joined).where(wanted)):
            found[host_id] = {bytes(one) for one in contents if isinstance(one, (bytes, memoryview))}
    return found


def _of_a_day(connection: Connection, host_id: str, since: float) -> dict[bytes, int]:
    """The contents of the host's results since then, with their sizes."""
    found: dict[bytes, int] = {}
    for name in _CONTENTS:
        joined = results.join(blobs, results.c[name] == blobs.c.sha256)
        query = select(blobs.c.sha256, blobs.c.size).select_from(joined).distinct()
        rows = connection.execute(query.where(results.c.host_id == host_id, results.c.at > since))
        found.update((bytes(row.sha256), int(row.size)) for row in rows)
    return found
