"""The head of the ledger, in a file beside the keys: where the ledger ends, out of reach of who has the
database.

Seals show that no entry was changed or taken out of the middle. That the last ones were cut off, or that the
whole database is an old copy, only something outside of it can tell. The file is moved on after each commit,
so it can be behind the ledger for a moment, or after a crash for as long as it takes to open the store
again; it is never ahead of it, unless entries are missing. Where it cannot be written, whoever wanted the
entries is told that they are not protected yet.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.store.model import ALTERED, END_NOT_NOTED
from xentpm_lib.verifier.store.seal import Seals, canonical_json

__all__ = ["HEAD_FILE", "Head", "HeadFile"]

HEAD_FILE = "ledger.head"
_MAX_SIZE = 4096  # bytes
_HINT = "Do not repeat the command. Make room, or let {} be written; then run: xentpm-attest store check."

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry that is known to have been written. seq: 0 before the first. mac: 32 bytes."""

    store_id: str
    seq: int
    mac: bytes


class HeadFile:
    """The file in the directory of the station's keys."""

    def __init__(self, keys: StationKeys) -> None:
        self._keys = keys
        self.path = Path(keys.directory) / HEAD_FILE

    def read(self) -> Head | None:
        """The head; None when there is no file.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``: the file is not what was written; or it cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                data = file.read(_MAX_SIZE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            found = json.loads(data)
            head = Head(str(found["store"]), int(found["seq"]), bytes.fromhex(found["mac"]))
            sealed = self._seal(head) == found["seal"]
        except (ValueError, LookupError, TypeError):
            sealed = False
        if not sealed:
            hint = "Restore the station's directory from the backup; find out who has written there."
            raise StoreError("{} was altered or damaged".format(self.path), hint, ALTERED)
        return head

    def advance(self, head: Head) -> None:
        """Move the head on; never back. Raises: StoreError when the file cannot be written and has to be."""
        if head.seq and self._is_behind(head):
            with self._locked():
                if self._is_behind(head):
                    self._write(head)

    def note(self, head: Head) -> None:
        """Move the head on after a commit.

        Raises:
            StoreError: ``XENTPM_LEDGER_END``: the entries are written, the file cannot be. That is mended by
            the next entry, the next opening or ``Store.note_end``. Or ``XENTPM_STORE_ALTERED``.
        """
        try:
            self.advance(head)
        except StoreError as error:
            if error.code == ALTERED:
                raise
            message = "what was decided is written, but not protected yet from who can write to the database"
            hint = _HINT.format(self.path)
            raise StoreError("{}: {}".format(message, error.message), hint, END_NOT_NOTED) from error

    def try_to_note(self, head: Head) -> None:
        """``note``; that the file cannot be written is only logged. Raises: StoreError: it was altered."""
        try:
            self.note(head)
        except StoreError as error:
            if error.code != END_NOT_NOTED:
                raise
            _LOG.error("%s", error.message)

    def replace(self, head: Head) -> None:
        """Set the head to what an administrator says is right. Raises: StoreError."""
        with self._locked():
            self._write(head)

    def _is_behind(self, head: Head) -> bool:
        old = self.read()
        return old is None or old.store_id != head.store_id or old.seq < head.seq

    def _seal(self, head: Head) -> str:
        return Seals(self._keys, head.store_id).seal("head", (head.seq, head.mac)).hex()

    def _write(self, head: Head) -> None:
        text = canonical_json(
            {
                "store": head.store_id,
                "seq": head.seq,
                "mac": head.mac.hex(),
                "seal": self._seal(head),
            }
        )
        fresh = self.path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> StoreError:
        return StoreError("{} cannot be used: {}".format(self.path, error.strerror or error))
