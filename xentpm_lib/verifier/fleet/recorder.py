"""One thread that stores results with all that they change, many in one transaction."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.states import States, Transition
from xentpm_lib.verifier.ledger_bodies import LedgerItem, StateChange, state_changed
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.change import Announcer, Change
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.store.model import ALTERED, Recorded
from xentpm_lib.verifier.store.store import Store

__all__ = ["BATCH", "GATHER_S", "Outline", "Recorder", "Recording"]

BATCH = 200
"""Results in one transaction, at most."""
GATHER_S = 0.2
"""How long the first result of a transaction waits for others."""
_QUEUED = 2000  # results that wait; who brings more has to wait, too
_LAPSES_S = 1.0  # how often it is looked for leases that have ended
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
_WHO = "xentpm-attest"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outline:
    """What is told of a host beside its result. disable_host: as its policy says."""

    host_name: str
    pool_id: str
    pool_name: str
    disable_host: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """A result to be stored. evidence: only what was verified is worth keeping."""

    result: AttestationResult
    outline: Outline
    evidence: QuoteEvidence | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    recorded: list[Recorded] = field(default_factory=list)
    transitions: list[Transition | None] = field(default_factory=list)


class Recorder:
    """Stores what it is given. Where the store cannot be used it tries again until it can be.

    outline: of a host, None when it is not watched any more; asked for hosts whose lease has ended.
    stored: called in the recorder's thread with each result that is stored, and the change that it made.
    tell_restored: whether the end of a lease is told that is older than this process; not before every host
    had its turn after a start.
    """

    def __init__(
        self,
        store: Store,
        states: States,
        announcer: Announcer,
        outline: Callable[[str], Outline | None],
        stored: Callable[[AttestationResult, Transition | None], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._states = states
        self._announcer = announcer
        self._outline = outline
        self._stored = stored
        self._clock = clock
        self._queue: queue.Queue[Recording | None] = queue.Queue(_QUEUED)
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.tell_restored = False
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def put(self, recording: Recording) -> None:
        """Hand in a result; waits while the store is far behind."""
        while not self._given_up.is_set():
            try:
                return self._queue.put(recording, timeout=1.0)
            except queue.Full:
                continue

    def close(self, timeout_s: float) -> bool:
        """Store what was handed in, then end. Whether that went within the time; if not, the rest is lost."""
        self._closing.set()
        try:
            self._queue.put(None, timeout=timeout_s / 2)
        except queue.Full:
            pass
        self._thread.join(timeout_s)
        self._given_up.set()
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            _LOG.critical("results cannot be stored any more: %s", error, exc_info=True)
            self.failure = error
            self._given_up.set()

    def _work(self) -> None:
        looked_at = 0.0
        while True:
            batch, last = self._gather()
            if batch:
                self._record(batch)
            if time.monotonic() - looked_at >= _LAPSES_S:
                looked_at = time.monotonic()
                self._tell_lapses()
            if last:
                return

    def _gather(self) -> tuple[list[Recording], bool]:
        """What came within the time, and whether nothing comes any more."""
        batch: list[Recording] = []
        try:
            one = self._queue.get(timeout=_LAPSES_S)
            if one is not None and self._queue.qsize() < BATCH:
                self._closing.wait(GATHER_S)
            while one is not None:
                batch.append(one)
                if len(batch) == BATCH:
                    return batch, False
                one = self._queue.get_nowait()
            return batch, True
        except queue.Empty:
            return batch, False

    def _record(self, recordings: Sequence[Recording]) -> None:
        batch = self._batch(recordings)
        if not self._until_stored(lambda: self._store.record(batch.recorded)):
            return
        results = [recording.result for recording in recordings]
        self._states.committed(results)
        for result, transition in zip(results, batch.transitions, strict=True):
            self._stored(result, transition)

    def _batch(self, recordings: Sequence[Recording]) -> _Batch:
        batch = _Batch()
        batch.transitions.extend(self._states.transitions(one.result for one in recordings))
        for recording, transition in zip(recordings, batch.transitions, strict=True):
            batch.recorded.append(self._recorded(recording, transition))
        return batch

    def _recorded(self, recording: Recording, transition: Transition | None) -> Recorded:
        result, outline = recording.result, recording.outline
        if transition is None:
            same = Transition(result.host_id, result.state, result.state, result.appraised_at)
            change = _change(outline, same, result)
            notifications = self._announcer.renewed(change, self._states.since(result.host_id))
            return Recorded(result, recording.evidence, notifications)
        change = _change(outline, transition, result)
        return Recorded(result, recording.evidence, self._announcer.changed(change), (_entry(change),))

    def _tell_lapses(self) -> None:
        """Tell of leases that have ended: nobody attests the host, or nobody can."""
        for lapse in self._states.lapsed(self._clock(), self.tell_restored):
            outline = self._outline(lapse.host_id)
            if outline is None:
                continue
            change = _change(outline, lapse)
            notifications = self._announcer.changed(change)
            if self._until_stored(partial(self._append, _entry(change), notifications)):
                self._states.told(lapse.host_id, lapse.new, lapse.at)
                _LOG.warning("host %s (%s): its lease has ended", outline.host_name, lapse.host_id)

    def _append(self, entry: LedgerItem, notifications: tuple[Notification, ...]) -> None:
        self._store.append_all([entry], who=_WHO, notifications=notifications)

    def _until_stored(self, store: Callable[[], object]) -> bool:
        """Try until it goes; False when it has not gone until the end.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``.
        """
        wait_s = _FIRST_RETRY_S
        while True:
            try:
                store()
                return True
            except StoreError as error:
                if error.code == ALTERED:
                    raise
                _LOG.error("results cannot be stored, trying again in %g s: %s", wait_s, error)
            if self._closing.is_set() or self._closing.wait(wait_s):
                return False
            wait_s = min(2 * wait_s, _LAST_RETRY_S)


def _change(outline: Outline, transition: Transition, result: AttestationResult | None = None) -> Change:
    return Change(
        host_id=transition.host_id,
        host_name=outline.host_name,
        pool_id=outline.pool_id,
        pool_name=outline.pool_name,
        old=transition.old,
        new=transition.new,
        at=transition.at,
        result=result,
        disable_host=outline.disable_host,
    )


def _entry(change: Change) -> LedgerItem:
    failed = () if change.result is None else change.result.findings
    codes = tuple(dict.fromkeys(one.code for one in failed if one.failed))
    return state_changed(StateChange(change.host_id, change.old, change.new, change.at, codes))
