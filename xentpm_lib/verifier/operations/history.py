"""What happened to a host: the ledger's entries about it, its results, and who was told, by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_readers import read_state_change
from xentpm_lib.verifier.notification import Kept
from xentpm_lib.verifier.notify.document import Event, read_body
from xentpm_lib.verifier.operations.hosts import found
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import Entry
from xentpm_lib.verifier.times import format_time

__all__ = ["HistoryEvent", "events"]

_PAGE = 1000  # notifications that are read at a time
_SIMPLE = {
    "host_enrolled": "enrolled",
    "host_removed": "forgotten",
    "host_seen": "seen in its pool, not enrolled",
    "host_gone": "not in its pool any more",
    "host_updated": "enrolment updated: the same keys; pool {pool_id}, name {name}, EK: {ek_trust}",
    "reference_retired": "baseline retired: {label}",
    "reference_assigned": "baseline assigned: {label}",
    "reference_unassigned": "baseline taken away: {label}",
}


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """Something that happened. who: a person, or the program. what: in words.

    kind: of ledger entry, ``result`` or ``notification``.
    """

    at: float
    who: str
    kind: str
    what: str

    def to_object(self) -> dict[str, Any]:
        """As JSON values."""
        return {"at": format_time(self.at), "who": self.who, "kind": self.kind, "what": self.what}


def events(
    station: Station, word: str, results: bool, limit: int, notifications: bool = False
) -> list[HistoryEvent]:
    """The newest ``limit`` events of a host, oldest first. A forgotten host is known by its UUID.

    Raises: UsageError, StoreError.
    """
    host_id = _host_id(station, word)
    reader = _Reader(host_id)
    read = [reader.read(entry) for entry in station.store.entries()]
    told = [event for event in read if event is not None]
    if results:
        told += [_of_result(one.result) for one in station.store.history(host_id, limit)]
    if notifications:
        told += _of_outbox(station, host_id, limit)
    if results or notifications:
        told.sort(key=lambda event: event.at)
    return told[-limit:]


def _host_id(station: Station, word: str) -> str:
    """Raises: UsageError, StoreError."""
    try:
        return found(station, word).host_id
    except UsageError as error:
        entries = station.store.entries()
        if any(entry.kind == "host_enrolled" and entry.subject == word.lower() for entry in entries):
            return word.lower()
        error.hint = f"{error.hint} A host that was forgotten is found by its UUID; audit export has it."
        raise


class _Reader:
    """Goes through the ledger and remembers what concerns a host: its group, its baselines."""

    def __init__(self, host_id: str) -> None:
        self._host_id = host_id
        self._group = ""
        self._labels: dict[str, str] = {}
        self._enrolled = False

    def read(self, entry: Entry) -> HistoryEvent | None:
        """What the entry means for the host; None when it does not concern it. Raises: StoreError."""
        try:
            what = self._what(entry)
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError(f"ledger entry {entry.seq} cannot be read") from error
        return None if what is None else HistoryEvent(entry.at, entry.who, entry.kind, what)

    def _what(self, entry: Entry) -> str | None:
        if entry.subject == self._host_id:
            return self._of_host(entry)
        if entry.kind == "policy_assigned" and entry.subject == self._group:
            return f"policy assigned to its group {self._group}"
        if entry.kind == "reference_added" and self._concerns(entry):
            self._labels[entry.subject] = str(entry.body["label"])
            return f"baseline {entry.body['origin']}: {entry.body['label']}"
        if entry.kind in ("reference_assigned", "reference_unassigned") and self._concerns(entry):
            return _SIMPLE[entry.kind].format(label=self._labels.setdefault(entry.subject, entry.subject))
        if entry.kind == "reference_retired" and entry.subject in self._labels:
            return _SIMPLE[entry.kind].format(label=self._labels[entry.subject])
        return None

    def _concerns(self, entry: Entry) -> bool:
        return self._host_id in entry.body["hosts"] or self._group in entry.body["groups"]

    def _of_host(self, entry: Entry) -> str:
        body = entry.body
        if entry.kind == "host_enrolled":
            again, self._enrolled, self._group = self._enrolled, True, str(body["group"])
            return f"enrolled{' anew' if again else ''} (EK: {str(body['ek_trust']).replace('_', ' ')})"
        if entry.kind == "host_removed":
            self._enrolled = False
        if entry.kind == "host_group":
            self._group = str(body["group"])
            return f"put into the group {self._group}"
        if entry.kind == "asset_tag_expected":
            return f"asset tag expected: {body['tag'] or 'none'}"
        if entry.kind == "state_changed":
            change = read_state_change(entry.subject, body)
            codes = f" ({', '.join(change.findings)})" if change.findings else ""
            return f"{change.old.value if change.old else 'new'} -> {change.new.value}{codes}"
        return _SIMPLE.get(entry.kind, entry.kind).format(**body)


def _of_result(result: AttestationResult) -> HistoryEvent:
    codes = dict.fromkeys(found.code for found in result.findings if found.failed)
    told = f": {', '.join(codes)}" if codes else ""
    return HistoryEvent(
        result.appraised_at, "xentpm-attest", "result", f"attested, {result.state.value}{told}"
    )


def _of_outbox(station: Station, host_id: str, limit: int) -> list[HistoryEvent]:
    """The newest notifications about a host; that marks were renewed is nothing that happened to it."""
    found: list[HistoryEvent] = []
    before: int | None = None
    while len(found) < limit:
        page = station.store.outbox_newest(_PAGE, before, host_id=host_id)
        found += [event for event in map(_of_notification, page) if event is not None]
        if len(page) < _PAGE:
            break
        before = page[-1].sequence
    return found[:limit]


def _of_notification(kept: Kept) -> HistoryEvent | None:
    made = kept.notification
    at = "" if kept.finished_at is None else f" {format_time(kept.finished_at)}"
    why = f": {kept.error}" if kept.error else ""
    try:
        document = read_body(made.body)
        if document.event is Event.RENEWED:
            return None
        said = document.summary
    except FormatError:
        said = "what cannot be read"
    told = {
        "pending": f"waits{why}",
        "delivered": f"delivered{at}",
        "failed": f"given up{at}{why}",
        "superseded": f"not needed any more{at}",
        "altered": "the record was altered",
    }.get(kept.state, f"{kept.state}{at}{why}")
    return HistoryEvent(
        made.created_at, "xentpm-attest", "notification", f"to {made.channel}: {said}; {told}"
    )
