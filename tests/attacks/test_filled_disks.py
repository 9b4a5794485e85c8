"""Attacks on the verifier's disk, by hosts whose evidence holds: what they may say beside it is bounded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.stores import Station
from xentpm_lib.evidence.event_log import Event
from xentpm_lib.evidence.event_types import EV_NO_ACTION
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.fleet import kept_logs
from xentpm_lib.verifier.fleet.kept_logs import KeptLogs
from xentpm_lib.verifier.store import log_bounds
from xentpm_lib.verifier.store.model import Recorded

MIB = 1024 * 1024


class Disk:
    """A store, and evidence of the desk's host that goes into it as the fleet does it."""

    def __init__(self, folder: Path, desk: Any) -> None:
        self.desk = desk
        self.folder = folder
        self.station = Station(folder, f"sqlite:///{folder}/store.sqlite")

    def grown(self, times: int, **lies: Any) -> int:
        """Bytes by which the store grows with so many results, each of a process of its own."""
        self.keep(**lies)
        before = self._size()
        for _ in range(times):
            self.keep(**lies)
        return self._size() - before

    def keep(self, **lies: Any) -> None:
        """Attest the host and store what comes of it."""
        challenge = self.desk.challenge()
        text = self.desk.answer(challenge, **{name: lie() for name, lie in lies.items()})
        appraisal = self.desk.judge(text, challenge)
        self.desk.believed(appraisal)
        evidence = QuoteEvidence.from_json(text)
        evidence = KeptLogs().evidence(self.desk.record.host_id, evidence, appraisal.evidence)
        with self.station.open() as store:
            store.record([Recorded(appraisal.result, evidence)])

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("store.sqlite*"))


@pytest.fixture
def disk(tmp_path: Path, desk: Any) -> Iterator[Disk]:
    made = Disk(tmp_path, desk)
    yield made
    made.station.close()


def test_logs_that_fill_the_disk(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The true log with a megabyte of noise behind it, which extends nothing, and another one each time."""
    attester = disk.desk.attester
    true = attester.event_log

    def padded() -> bytes:
        noise = Event(0, EV_NO_ACTION, {"sha256": bytes(32)}, os.urandom(MIB))
        attester.events, before = (*attester.events, noise), attester.events
        try:
            return bytes(true())
        finally:
            attester.events = before

    monkeypatch.setattr(attester, "event_log", padded)
    assert disk.grown(8) < 4 * MIB
    monkeypatch.setattr(log_bounds, "LOG_BYTES_A_DAY", 1 << 40)
    assert disk.grown(8) > 8 * MIB


def test_values_that_fill_the_disk(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Banks that nobody asked for and no TPM signed, with other values each time."""
    disk.desk.attester.send_log = False

    def padded() -> dict[str, Any]:
        noise = {bank: {index: os.urandom(size) for index in range(24)} for bank, size in SIZES.items()}
        return {"untrusted_pcrs": {**disk.desk.attester.pcrs, **noise}}

    bounded = disk.grown(100, evidence=padded)
    monkeypatch.setattr(
        kept_logs, "proven_logs", lambda evidence, verified: evidence._replace(untrusted_event_log=None)
    )
    assert disk.grown(100, evidence=padded) > 2 * bounded


SIZES = {"sha1": 20, "sha384": 48, "sha512": 64}
