"""A host cannot fill the verifier's disk with logs that it writes itself."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester
from xentpm_lib.evidence.attest import Attest
from xentpm_lib.evidence.event_log import parse_event_log
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import VerifiedEvidence
from xentpm_lib.verifier.fleet.kept_logs import KeptLogs, proven_logs


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
