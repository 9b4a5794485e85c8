"""The store: everything that the verifier knows, and everything that it has ever decided.

A row that decides trust is sealed with keys that are not in the database, and the ledger is a chain whose
end is known outside of it: whoever can write to the database can destroy what is in it, but not make it say
something.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TextIO

from sqlalchemy import Connection

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.ledger_bodies import LedgerItem, note, pool_removed, with_result
from xentpm_lib.verifier.notification import Kept, Lane, Notification, Pending
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.store.audit import STATION, check_rows, export_history
from xentpm_lib.verifier.store.blobs import Blobs, content_id
from xentpm_lib.verifier.store.credentials import CredentialRows
from xentpm_lib.verifier.store.database import Database
from xentpm_lib.verifier.store.head import HeadFile
from xentpm_lib.verifier.store.identity import identify
from xentpm_lib.verifier.store.lateness import check_lateness, check_unchanged
from xentpm_lib.verifier.store.ledger import Ledger
from xentpm_lib.verifier.store.log_bounds import LogBounds
from xentpm_lib.verifier.store.model import (
    Entry,
    Problem,
    Pruned,
    Recorded,
    StoredCredentials,
    StoredResult,
)
from xentpm_lib.verifier.store.outbox import Outbox
from xentpm_lib.verifier.store.results import Results
from xentpm_lib.verifier.store.retention import prune
from xentpm_lib.verifier.store.schema import upgrade
from xentpm_lib.verifier.store.seal import Seals
from xentpm_lib.verifier.store.shown import last_shown
from xentpm_lib.verifier.store.timely import Timely
from xentpm_lib.verifier.store.watch_lock import watch_lock

__all__ = ["KEEP_NOTIFICATIONS_S", "Store"]

KEEP_NOTIFICATIONS_S = 90 * 86400.0
"""How long a notification that was delivered or given up stays where no policy says otherwise."""

_LOG = logging.getLogger(__name__)


class Store:
    """One store, used by all threads of a process. Several processes may have it open; one writes at a time.

    Every method raises StoreError when the database cannot be used, ``XENTPM_STORE_ALTERED`` when somebody
    else has written to it.
    """

    def __init__(self, database: Database, keys: StationKeys, clock: Callable[[], float]) -> None:
        """For ``open``."""
        self._database = database
        self._clock = clock
        self._head = HeadFile(keys)
        store_id = identify(database, keys, self._head, clock())
        seals = Seals(keys, store_id)
        self._ledger = Ledger(seals)
        self._blobs = Blobs()
        self._results = Results(seals, self._blobs)
        self._log_bounds = LogBounds()
        self._outbox = Outbox(seals, Timely(self._ledger, self._results))
        self._credentials = CredentialRows(keys, seals)

    @classmethod
    def open(
        cls,
        url: str,
        keys: StationKeys,
        clock: Callable[[], float] = time.time,
        restored_by: str = "",
    ) -> Store:
        """Open a store; its tables are made, or brought up to this release, when they have to be.

        url: ``sqlite:////PATH`` or ``postgresql+pg8000://USER@HOST/DATABASE``; a PostgreSQL server elsewhere
        has to
            prove itself by TLS (``?sslrootcert=FILE``), one here may be given by ``?unix_sock=PATH``.
        restored_by: who says that an older copy of the store is to be used from now on. Its ledger has to
        hold.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``: entries are missing or altered; ``XENTPM_STORE_NEWER``: a
            later
                release wrote it; or it cannot be used, or others can read it.
            UsageError: the URL cannot be used.
        """
        database = Database(url)
        try:
            upgrade(database)
            store = cls(database, keys, clock)
            if restored_by:
                store._accept(restored_by)
            with database.read() as connection:
                last = store._ledger.check_head(connection, store._head.read())
            store._head.try_to_note(last)
        except BaseException:
            database.close()
            raise
        return store

    def close(self) -> None:
        """Give back all connections."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The ledger.

    def append(
        self, kind: str, subject: str, body: dict[str, Any], who: str, after: int | None = None
    ) -> Entry:
        """Add one entry, as ``append_all``: ``store.append(*host_enrolled(record), who="jo")``."""
        return self.append_all([LedgerItem(kind, subject, body)], who, after=after)[0]

    def append_all(
        self,
        items: Iterable[LedgerItem],
        who: str,
        notifications: Sequence[Notification] = (),
        after: int | None = None,
    ) -> list[Entry]:
        """Add entries, and notifications to the outbox: all, or none.

        who: the person or program. after: the number of the last entry that the decision was made on.

        Raises:
            StoreError: ``XENTPM_STORE_CHANGED``: there are entries behind ``after``; or an item cannot be
            read back. ``XENTPM_LEDGER_END``: they are written, but the file that tells where the ledger ends
            is not, so that somebody else could take them away unseen.
        """
        with self._database.write() as connection:
            entries = self._append(connection, list(items), who, after)
            self._outbox.add(connection, notifications)
        self._head.note(self._ledger.end_of(entries))
        return entries

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """The entries behind entry ``after``, in their order, each verified with its place in the chain.

        That none is missing at the end is known before the first is given.
        """
        head = self._head.read()
        with self._database.read() as connection:
            self._ledger.check_head(connection, head)
            yield from self._ledger.entries(connection, after)

    def note_end(self) -> None:
        """Note where the ledger ends, if that could not be done when its last entries were written.

        Raises:
            StoreError: ``XENTPM_LEDGER_END``: it cannot be done now either.
        """
        with self._database.read() as connection:
            end = self._ledger.check_head(connection, self._head.read())
        self._head.note(end)

    # Results.

    def record(self, batch: Sequence[Recorded], who: str = STATION, after: int | None = None) -> list[int]:
        """Store attestations with evidence, notifications and ledger entries: all, or none. Their numbers.

        who: the person who asked for them, or the program. after: number of the last entry that results and
        changes of state rest on; ``append_all`` says what it raises, but that the end of the ledger cannot be
        noted is only logged here: ``note_end`` tells.

        Raises:
            LateResults: some are older than their hosts' newest ones, which they must not replace.
        """
        with self._database.write() as connection:
            check_unchanged(self._ledger.check_head(connection, self._head.read()), after)
            now = self._clock()
            check_lateness(connection, self._results, [one.result for one in batch], now)
            batch = self._log_bounds.bounded(connection, batch, now)
            rows = self._results.add(connection, batch, who, self._ledger.last(connection).seq)
            self._outbox.add(connection, [each for one in batch for each in one.notifications])
            items = [
                with_result(item, row.number, row.seal)
                for row, one in zip(rows, batch, strict=True)
                for item in one.entries
            ]
            entries = self._append(connection, items, who) if items else []
        self._head.try_to_note(self._ledger.end_of(entries))
        return [row.number for row in rows]

    def latest(self, host_id: str | None = None) -> dict[str, StoredResult]:
        """Host to newest result, of every host that ever had one, or of one host if it had.

        One that was altered or taken away is there, as untrusted, until the host is enrolled anew.
        """
        with self._database.read() as connection:
            hosts = None if host_id is None else [host_id]
            return self._results.latest(connection, last_shown(self._ledger, connection, hosts), hosts)

    def history(self, host_id: str, limit: int = 100, before: int | None = None) -> list[StoredResult]:
        """A host's results, newest first; with ``before``, those that are older than that number."""
        with self._database.read() as connection:
            return self._results.history(connection, host_id, limit, before)

    def last_trusted(self, host_id: str) -> AttestationResult | None:
        """The newest result of a host by which it was trusted; None when there is none, or it was altered."""
        with self._database.read() as connection:
            return self._results.last_trusted(connection, host_id)

    def evidence(self, result_id: int) -> QuoteEvidence | None:
        """What the host sent for this result; None when it was not stored."""
        with self._database.read() as connection:
            return self._results.evidence(connection, result_id)

    # Contents.

    def put_blob(self, data: bytes) -> str:
        """Store a content for good; its SHA-256, hex."""
        sha256 = content_id(data)
        with self._database.write() as connection:
            self._blobs.put(connection, {sha256: data}, pinned=True)
        return sha256.hex()

    def get_blob(self, digest: str) -> bytes | None:
        """The content with this SHA-256, hex; None when it is not there or was altered."""
        with self._database.read() as connection:
            return self._blobs.get(connection, [bytes.fromhex(digest)]).get(bytes.fromhex(digest))

    # Credentials.

    def put_credentials(self, pool_id: str, credentials: StoredCredentials) -> None:
        """Store how to log in to a pool. Raises: UsageError for a password that is empty or too long."""
        with self._database.write() as connection:
            self._credentials.put(
                connection, pool_id, credentials.username, credentials.secret, self._clock()
            )

    def get_credentials(self, pool_id: str) -> StoredCredentials | None:
        """How to log in to a pool; None when nothing is stored."""
        with self._database.read() as connection:
            return self._credentials.get(connection, pool_id)

    def drop_credentials(self, pool_id: str) -> None:
        """Forget how to log in to a pool."""
        with self._database.write() as connection:
            self._credentials.drop(connection, pool_id)

    def remove_pools(self, pool_ids: Sequence[str], who: str, after: int) -> None:
        """Remove pools together with how to log in to them: both, or nothing. after: as ``append_all``."""
        with self._database.write() as connection:
            entries = self._append(connection, [pool_removed(one) for one in pool_ids], who, after)
            for pool_id in pool_ids:
                self._credentials.drop(connection, pool_id)
        self._head.note(self._ledger.end_of(entries))

    # The outbox.

    def outbox_add(self, notifications: Sequence[Notification]) -> None:
        """Put in notifications; one whose id was there before is passed over."""
        with self._database.write() as connection:
            self._outbox.add(connection, notifications)

    def outbox_due(
        self, now: float, limit: int = 100, channel: str | None = None, after: int = 0
    ) -> list[Pending]:
        """What is to be tried now, oldest first. What is never to be told is taken out: rows that the
        verifier did not write (and that is logged), and what is not true of its host any more (``timely``).

        after: only those with a higher ``sequence``, and older ones that were held back until now.
        """
        at = self._clock()
        with self._database.read() as connection:
            looked = self._outbox.due(connection, now, limit, channel, after, at)
        if looked.altered or looked.outdated:
            with self._database.write() as connection:
                for sequence in looked.altered:
                    _LOG.error("notification %d in the store was altered and is not sent", sequence)
                    self._outbox.finish(connection, sequence, "altered", "the row was altered", at)
                for sequence in looked.outdated:
                    _LOG.info("notification %d is not sent: it is not true any more", sequence)
                    self._outbox.finish(connection, sequence, "outdated", "not true any more", at)
        return looked.due

    def outbox_done(self, sequence: int, state: str = "delivered") -> None:
        """It was delivered; or with ``superseded``: it need not be any more."""
        with self._database.write() as connection:
            self._outbox.finish(connection, sequence, state, "", self._clock())

    def outbox_failed(self, sequence: int, error: str, next_at: float) -> None:
        """The attempt failed; it is due again at ``next_at``."""
        with self._database.write() as connection:
            self._outbox.postpone(connection, sequence, error, next_at)

    def outbox_give_up(self, sequence: int, error: str) -> None:
        """It is not tried any more."""
        with self._database.write() as connection:
            self._outbox.finish(connection, sequence, "failed", error, self._clock())

    def outbox_newest(self, limit: int, before: int | None = None, **only: str) -> list[Kept]:
        """What was ever put in and is still kept, newest first. only: ``host_id``, ``channel``, ``state``."""
        with self._database.read() as connection:
            return self._outbox.newest(connection, limit, before, only)

    def outbox_lanes(self, state: str | None = None) -> list[Lane]:
        """How many notifications there are of each channel and pool, by state; of one state, where given."""
        with self._database.read() as connection:
            return self._outbox.lanes(connection, state)

    def outbox_counts(self) -> dict[str, dict[str, int]]:
        """Channel to state (``notification.Kept``) to how many."""
        with self._database.read() as connection:
            return self._outbox.counts(connection)

    # Upkeep.

    def watch_lock(self) -> AbstractContextManager[Callable[[], bool]]:
        """For as long as this process watches: nobody else does. Tells whether it is still so.

        Raises:
            StoreError: ``XENTPM_STORE_WATCHED``: another process does.
        """
        return watch_lock(self._database)

    def prune(
        self,
        now: float,
        keep: Callable[[str], float],
        keep_notifications: Callable[[str], float] = lambda _host_id: KEEP_NOTIFICATIONS_S,
    ) -> Pruned:
        """Delete results older than ``keep(host_id)`` seconds that tell nothing that others do not, and
        notifications that were delivered or given up longer ago than ``keep_notifications(host_id)``."""
        return prune(self._database, now, keep, keep_notifications)

    def check(self) -> list[Problem]:
        """Every row that is not as the verifier wrote it. The ledger's first fault hides the rest of it."""
        problems = []
        try:
            for _ in self.entries():
                pass
            self.note_end()
        except StoreError as error:
            problems.append(Problem("ledger", "", error.message))
        with self._database.read() as connection:
            try:
                shown = last_shown(self._ledger, connection, None)
            except StoreError:  # an entry was altered, which is told above
                shown = {}
            problems.extend(check_rows(connection, self._results, self._outbox, self._credentials, shown))
        return problems

    def audit_export(self, file: TextIO) -> int:
        """Write all history as JSON lines (docs/verifier.md has the members). How many lines."""
        head = self._head.read()
        with self._database.read() as connection:
            self._ledger.check_head(connection, head)
            entries = self._ledger.entries(connection, 0)
            return export_history(file, connection, entries, self._results, self._outbox)

    def _append(
        self, connection: Connection, items: list[LedgerItem], who: str, after: int | None = None
    ) -> list[Entry]:
        """Within a writing transaction: nobody else can move the ledger's end."""
        last = self._ledger.check_head(connection, self._head.read())
        check_unchanged(last, after)
        items = [self._with_newest_result(connection, item) for item in items]
        return self._ledger.append(connection, last, items, who, self._clock())

    def _with_newest_result(self, connection: Connection, item: LedgerItem) -> LedgerItem:
        """A change of state names the host's newest result, so that this one cannot be taken away unseen."""
        if item.kind != "state_changed" or item.body.get("result_id") is not None:
            return item
        newest = self._results.newest_row(connection, item.subject)
        return item if newest is None else with_result(item, newest.number, newest.seal)

    def _accept(self, who: str) -> None:
        """Take the ledger as it is, when it holds, for the one that counts from now on."""
        with self._database.write() as connection:
            for _ in self._ledger.entries(connection, 0):
                pass
            last = self._ledger.last(connection)
            self._head.replace(last)
            text = "a copy of the store was put into use; its ledger ended with entry {}".format(last.seq)
            entries = self._append(connection, [note("store", text)], who, None)
        self._head.note(self._ledger.end_of(entries))
