"""One thread that stores results with all that they change, many in one transaction."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.fleet.others import follow, is_written, renewed_by_others
from xentpm_lib.verifier.fleet.recording import Outline, Prepared, Recording, change_of, entry_of
from xentpm_lib.verifier.fleet.roster import Roster
from xentpm_lib.verifier.fleet.states import States, Transition, lasting, still_in_doubt
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.change import Announcer
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.store.lateness import LateResults
from xentpm_lib.verifier.store.model import ALTERED, CHANGED, Recorded
from xentpm_lib.verifier.store.store import Store

__all__ = ["BATCH", "GATHER_S", "Outline", "Recorder", "Recording"]

BATCH = 200
"""Results in one transaction, at most."""
GATHER_S = 0.2
"""How long the first result of a transaction waits for others."""
_QUEUED = 2000  # results that wait; who brings more has to wait, too
_LAPSES_S = 1.0  # how often it is looked for leases that have ended
_TRIES = 20  # while other processes change the ledger; after that nothing is stored as trust
_ASKED_AGAIN = 5  # times in a row that a host is attested anew because what it is judged by changed
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
_WHO = "xentpm-attest"

_LOG = logging.getLogger(__name__)


class Recorder:
    """Stores what it is given. Where the store cannot be used it tries again until it can be.

    A result is stored only as of what counts at that moment: one whose host was enrolled anew since, or trust
    by a policy, reference values or expectations that count no more, is dropped and the host attested again.
    So is a result that is older than the newest stored one of the same enrolment, which another process was
    quicker to store: it is not in the history.

    states, roster: as of ledger entry ``roster.registry.seq``.
    again: called in the recorder's thread with the host of a result that was dropped, to attest it at once.
    stored: called in the recorder's thread with each result that is stored, and the change that it made.
    lost: hosts of which not even that a result cannot be stored could be stored. failure: what ended it.
    who: asked for the results, for the records.
    tell_restored: whether the end of a lease is told that is older than this process; not before every host
    had its turn after a start.
    """

    def __init__(
        self,
        store: Store,
        states: States,
        announcer: Announcer,
        roster: Roster,
        stored: Callable[[AttestationResult, Transition | None], None],
        again: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._states = states
        self._announcer = announcer
        self._roster = roster
        self._stored = stored
        self._again = again
        self._clock = clock
        self._queue: queue.Queue[Recording | None] = queue.Queue(_QUEUED)
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.tell_restored = False
        self._seen = roster.registry.seq
        self._dropped: dict[str, int] = {}
        self.failure: Exception | None = None
        self.lost: set[str] = set()
        self.who = _WHO

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

    def _record(self, recordings: list[Recording]) -> None:
        """Store results; where that fails because of one of them, all others."""
        wait_s = _FIRST_RETRY_S
        while not self._commit(recordings):
            if self._store_works():
                for one in list(recordings):
                    if not self._commit([one]):
                        self._store_instead(one)
                return
            if self._wait(wait_s):
                return
            wait_s = min(2 * wait_s, _LAST_RETRY_S)

    def _store_instead(self, refused: Recording) -> None:
        """Store that a result cannot be stored: the host is not trusted on the strength of an older one."""
        found = finding("INTERNAL_ERROR", detail="the result of this attestation cannot be stored")
        findings = (found, *lasting(refused.result))
        result = replace(refused.result, findings=findings, references=(), clock=None, evidence_digest="")
        if not self._commit([Recording(result, refused.outline)]):
            _LOG.critical("host %s has no result: none can be stored", result.host_id)
            self.lost.add(result.host_id)

    def _prepared(self, recordings: list[Recording]) -> list[Prepared]:
        """The recordings with the changes that they make now, after what others have stored meanwhile.

        Those that must not be stored are taken out of the list.
        """
        self._follow()
        for one in list(recordings):
            why = self._roster.outdated(one)
            if why:
                self._drop(recordings, one, why)
        recordings = [self._with_doubts(one) for one in recordings]
        transitions = self._states.transitions(one.result for one in recordings)
        return [
            Prepared(recording, transition, self._recorded(recording, transition))
            for recording, transition in zip(recordings, transitions, strict=True)
        ]

    def _drop(self, recordings: list[Recording], one: Recording, why: str) -> None:
        """Take a result out and have its host attested again. That ends: at last it is not judged."""
        host_id, outline = one.result.host_id, one.outline
        place = recordings.index(one)
        del recordings[place]
        times = self._dropped[host_id] = self._dropped.get(host_id, 0) + 1
        _LOG.info("host %s (%s): a result does not count any more: %s", outline.host_name, host_id, why)
        if times <= _ASKED_AGAIN:
            self._again(host_id)
            return
        found = finding("INTERNAL_ERROR", detail=f"no result counted in {times} attestations: {why}")
        result = self._roster.unjudged(host_id, found, self._clock())
        if result is not None:
            recordings.insert(place, Recording(result, outline))

    def _follow(self, level: int = logging.ERROR) -> bool:
        """Take in what others stored. Where that fails, storing will, too, and is tried again."""
        try:
            self._seen = follow(self._store, self._roster, self._states, self._seen)
        except Exception as error:
            return _failed(error, level)
        return True

    def _with_doubts(self, recording: Recording) -> Recording:
        result = still_in_doubt(self._states.doubts(recording.result.host_id), recording.result)
        return recording if result is recording.result else replace(recording, result=result)

    def _commit(self, recordings: list[Recording]) -> bool:
        """Store all of them. Whether they are. Raises: StoreError ``XENTPM_STORE_ALTERED``."""
        try:
            prepared = self._stored_at_last(recordings)
        except Exception as error:
            return _failed(error)
        self._states.committed(one.recording.result for one in prepared)
        for one in prepared:
            self._announcer.stored(one.recorded.notifications)
            self._dropped.pop(one.recording.result.host_id, None)
            self._stored(one.recording.result, one.transition)
        return True

    def _stored_at_last(self, recordings: list[Recording]) -> Sequence[Prepared]:
        """Store them; where somebody else was quicker, what counts after that."""
        for _ in range(_TRIES):
            prepared = self._prepared(recordings)
            try:
                self._store.record([one.recorded for one in prepared], who=self.who, after=self._seen)
            except LateResults as late:
                for one in [recordings[place] for place in late.places]:
                    self._drop(recordings, one, "a newer one is stored")
            except StoreError as error:
                if error.code != CHANGED:
                    raise
            else:
                self._seen += sum(len(one.recorded.entries) for one in prepared)
                return prepared
        for one in [one for one in recordings if one.result.state is State.TRUSTED]:
            self._drop(recordings, one, "others change the store all the time")
        prepared = self._prepared(recordings)
        self._store.record([one.recorded for one in prepared], who=self.who)
        return prepared

    def _store_works(self) -> bool:
        """Whether the store takes anything at all. Raises: StoreError ``XENTPM_STORE_ALTERED``."""
        try:
            self._store.record([])
        except Exception as error:
            return _failed(error)
        return True

    def _wait(self, seconds: float) -> bool:
        """Let some time pass. Whether there is none left, as the end has come."""
        return self._closing.is_set() or self._closing.wait(seconds)

    def _recorded(self, recording: Recording, transition: Transition | None) -> Recorded:
        result = recording.result
        notifications = self._notifications(recording, transition)
        if transition is None:
            return Recorded(result, recording.evidence, notifications)
        entry = entry_of(change_of(recording.outline, transition, result))
        return Recorded(result, recording.evidence, notifications, (entry,))

    def _notifications(self, recording: Recording, transition: Transition | None) -> tuple[Notification, ...]:
        """What is told of a result. Where that cannot be written, the result counts all the same."""
        result, outline = recording.result, recording.outline
        same = Transition(result.host_id, result.state, result.state, result.appraised_at)
        change = change_of(outline, transition or same, result)
        try:
            if transition is not None:
                return self._announcer.changed(change)
            return self._announcer.renewed(change, self._states.since(result.host_id))
        except Exception:
            _LOG.exception("host %s: nobody can be told of its state", result.host_id)
            return ()

    def _tell_lapses(self) -> None:
        """Tell of leases that have ended: nobody attests the host, or nobody can."""
        if not self._follow(logging.DEBUG):
            return
        for lapse in self._states.lapsed(self._clock(), self.tell_restored):
            outline = self._roster.outline(lapse.host_id)
            if outline is None or self._renewed(lapse):
                continue
            change = change_of(outline, lapse)
            notifications = self._announcer.changed(change)
            if not self._append(entry_of(change), notifications):
                return
            self._states.told(lapse.host_id, lapse.new, lapse.at)
            self._announcer.stored(notifications)
            _LOG.warning("host %s (%s): its lease has ended", outline.host_name, lapse.host_id)

    def _renewed(self, lapse: Transition) -> bool:
        """Whether another process has renewed the lease; that cannot be told without the store."""
        try:
            return renewed_by_others(self._store, self._states, lapse)
        except Exception as error:
            return not _failed(error)

    def _append(self, entry: LedgerItem, notifications: tuple[Notification, ...]) -> bool:
        """Whether it was; when others were quicker, it is looked again, and soon."""
        try:
            self._store.append_all([entry], who=_WHO, notifications=notifications, after=self._seen)
        except StoreError as error:
            if error.code == CHANGED:
                return False
            if not is_written(error):
                return _failed(error)
        except Exception as error:
            return _failed(error)
        self._seen += 1
        return True


def _failed(error: Exception, level: int = logging.ERROR) -> Literal[False]:
    """Log why something was not stored. Raises: the error, where the store was altered."""
    if isinstance(error, StoreError) and error.code == ALTERED:
        raise error
    _LOG.log(level, "results cannot be stored: %s", error, exc_info=not isinstance(error, StoreError))
    return False
