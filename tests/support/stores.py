"""A station with a store for tests, the hand of somebody who has the database, and results to put into it."""

import os
import sqlite3
import uuid
from dataclasses import replace
from urllib.parse import urlsplit

import pg8000.dbapi

from support.evidence_maker import SoftwareAttester
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, ReferenceUsed, TpmClock
from xentpm_lib.verifier.store import Store

NOW = 1_800_000_000.0
DISABLE_TRIGGERS = {
    "sqlite": ("DROP TRIGGER IF EXISTS ledger_no_update", "DROP TRIGGER IF EXISTS ledger_no_delete"),
    "postgresql": ("DROP TRIGGER IF EXISTS ledger_append_only ON ledger",),
}


class Station:
    """Keys in a folder and the URL of a store; its clock stands at NOW until it is set."""

    def __init__(self, folder, url):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.url = url
        self.kind = url.split(":")[0].split("+")[0]
        self.now = NOW
        self.keys = StationKeys.open(os.path.join(self.folder, "keys"), create=True)
        self._open = []

    def open(self, keys=None, **options):
        """The store; closed at the end of the test at the latest."""
        store = Store.open(self.url, keys or self.keys, clock=lambda: self.now, **options)
        self._open.append(store)
        return store

    def close(self):
        for store in self._open:
            store.close()

    def by_hand(self, *statements):
        """What somebody does who has the database and nothing else: SQL, or (SQL, parameters…).

        Gives the rows of the last statement.
        """
        connection, mark = self._connect()
        rows = []
        try:
            cursor = connection.cursor()
            for statement in (*DISABLE_TRIGGERS[self.kind], *statements):
                sql, parameters = (
                    (statement, ()) if isinstance(statement, str) else (statement[0], statement[1:])
                )
                cursor.execute(sql.replace("?", mark), parameters)
                rows = cursor.fetchall() if cursor.description else []
            connection.commit()
        finally:
            connection.close()
        return [tuple(row) for row in rows]

    def _connect(self):
        if self.kind == "sqlite":
            return sqlite3.connect(self.url[len("sqlite:///") :]), "?"
        parts = urlsplit(self.url)
        connection = pg8000.dbapi.connect(
            parts.username, parts.hostname, parts.path[1:], parts.port, parts.password
        )
        return connection, "%s"


def make_result(host_id=None, state="trusted", **changes):
    """A result; ``state`` is ``trusted``, ``untrusted`` or ``unreachable``."""
    findings = {
        "trusted": (finding("HOST_REBOOTED"),),
        "untrusted": (finding("PCR_CHANGED", where="sha256:9", expected="00" * 32, actual="11" * 32),),
        "unreachable": (finding("HOST_OFFLINE", detail="it is off"),),
    }[state]
    result = AttestationResult(
        host_id=host_id or str(uuid.uuid4()),
        host_name="host-1",
        pool_id="9b0dcb2b-54c2-4e4b-9b5a-0f7d5bd0b6a1",
        findings=findings,
        appraised_at=NOW,
        expires_at=NOW + 900,
        policy=PolicyUsed("uefi-grub", "ab" * 32),
        references=(ReferenceUsed("r-1", "golden", state == "trusted"),),
        clock=None if state == "unreachable" else TpmClock(123, 4, 5, True, 2**64 - 1),
        ek_trust="certificate",
        evidence_digest="" if state == "unreachable" else "cd" * 32,
    )
    return replace(result, **changes)


def make_evidence(host=None, nonce=bytes(32)):
    """Evidence of a software attester, with an event log and an asset tag."""
    host = host or SoftwareAttester(tag=bytes(range(32)))
    selection = PcrSelection((("sha256", tuple(range(24))),))
    return host, host.quote_evidence(nonce, selection)


def make_notification(channel="hook", host_id="h-1", body='{"version":1}', **changes):
    fresh = Notification(str(uuid.uuid4()), channel, host_id, "p-1", NOW, body)
    return replace(fresh, **changes)
