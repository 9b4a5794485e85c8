"""A host cannot fill the verifier's disk with logs that it writes itself."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester
from xentpm_lib.evidence.attest import Attest
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import parse_event_log
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import VerifiedEvidence
from xentpm_lib.verifier.fleet.kept_logs import BOOT_LOGS_A_BOOT, KeptLogs, proven_logs


@pytest.fixture
def sent():
    host = SoftwareAttester()
    evidence = QuoteEvidence.from_json(host.text(bytes(32), PcrSelection.from_text("sha256:all")))
    assert evidence.untrusted_event_log
    events = parse_event_log(evidence.untrusted_event_log)
    return evidence, VerifiedEvidence(Attest.from_bytes(evidence.attest), host.pcrs, events=events)


def test_a_log_that_leads_nowhere_is_not_kept(sent):
    evidence, verified = sent
    assert proven_logs(evidence, verified) == evidence
    assert proven_logs(evidence, replace(verified, events=None)).untrusted_event_log is None


def test_one_log_for_each_boot(sent):
    evidence, verified = sent
    logs = KeptLogs()
    assert logs.evidence("host", evidence, verified) == evidence
    assert logs.evidence("host", evidence, verified) == evidence
    other = evidence._replace(untrusted_event_log=evidence.untrusted_event_log + b"x")
    assert logs.evidence("host", other, verified).untrusted_event_log is None
    assert logs.evidence("another", other, verified) == other
    assert logs.evidence("host", evidence, verified) == evidence
    attest = verified.attest._replace(reset_count=verified.attest.reset_count + 1)
    assert logs.evidence("host", other, replace(verified, attest=attest)) == other


def test_a_few_boot_logs_for_each_boot(sent):
    """Also those that do not lead to the values: files were changed after the boot, and these are which."""
    evidence, verified = sent
    logs, made = KeptLogs(), []
    for number in range(BOOT_LOGS_A_BOOT + 1):
        events = (BootEvent(9, {"sha256": bytes([number]) * 32}, "/boot/initrd"),)
        made.append(evidence._replace(untrusted_boot_log=events))
    *few, last = made
    assert [logs.evidence("host", one, verified) for one in few] == few
    assert logs.evidence("host", last, verified) == last._replace(untrusted_boot_log=None)
    assert logs.evidence("host", few[0], verified) == few[0]
    attest = verified.attest._replace(restart_count=verified.attest.restart_count + 1)
    assert logs.evidence("host", last, replace(verified, attest=attest)) == last


def test_nothing_to_keep(sent):
    evidence, verified = sent
    without = evidence._replace(untrusted_event_log=None)
    assert KeptLogs().evidence("host", without, verified) == without


def test_values_that_nobody_signed_are_not_kept(sent):
    """Banks and registers beside those of the quote can be anything, and others each time."""
    evidence, verified = sent
    padded = {"sha1": {0: bytes(20)}, **evidence.untrusted_pcrs, "sha512": {23: bytes(64)}}
    kept = KeptLogs().evidence("host", evidence._replace(untrusted_pcrs=padded), verified)
    assert kept == evidence
