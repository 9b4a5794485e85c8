"""The shipped policies judge simulated hosts, with real TPMs and the real plugin, as their texts say."""

import hashlib
import time
from dataclasses import replace

import pytest

from support.pool import running_pool
from xentpm_lib.evidence.encoding import encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import appraise
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.explain import Known, explain, stored_evidence
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.records import EkTrust, HostRecord
from xentpm_lib.verifier.reference.capture import CaptureError, capture
from xentpm_lib.verifier.reference.diff import compared_registers, diff
from xentpm_lib.verifier.reference.measured import measurements
from xentpm_lib.verifier.result import State

KINDS = {"uefi-grub": (), "txt": ("--txt",), "firmware": ("--no-event-log",)}


class Verifier:
    """What a station does with a pool's hosts, without the station."""

    def __init__(self, pool, policy):
        self.pool, self.policy = pool, policy
        self.book = ChallengeBook()
        self.records = {host.name: self._record(host) for host in pool.hosts}

    def _record(self, host):
        identity = Identity.from_xml(self.pool.call_plugin(host.name, "tpm_get_attestation_identity"))
        return HostRecord(
            host_id=host.uuid,
            pool_id="9d2f8a6e-4b1c-4f6e-9a53-0d5a4d1f7c11",
            name=host.name,
            system_uuid=identity.system_uuid,
            ek=identity.ek,
            ak=identity.ak,
            ek_trust=EkTrust.CERTIFICATE,
            ek_certificate=None,
            enrolled_at=time.time(),
            serial=1,
        )

    def attest(self, name, *references):
        """The appraisal of the host now, and what it sent."""
        record = self.records[name]
        challenge = self.book.issue(record, self.policy)
        text = self.pool.call_plugin(
            name,
            "tpm_get_quote",
            nonce=encode_base64(challenge.nonce),
            pcrs=challenge.selection.to_text(),
        )
        redeemed = self.book.redeem(challenge)
        return appraise(text, redeemed, record, references, self.policy, None, time.time()), text

    def capture(self, name, policy=None, **assigned):
        """Reference values of the host, and its log."""
        appraisal, _ = self.attest(name)
        record = self.records[name]
        reference = capture(
            appraisal.result,
            appraisal.evidence,
            record,
            policy or self.policy,
            f"as {name} is",
            "jo",
            time.time(),
        )
        log = appraisal.evidence.event_log
        assert (hashlib.sha256(log or b"").hexdigest() == reference.event_log) or not reference.event_log
        return reference, log


@pytest.fixture(scope="module", params=sorted(KINDS))
def verifier(request):
    with running_pool(2, *KINDS[request.param]) as pool:
        yield Verifier(pool, shipped(request.param))


def test_a_host_waits_for_approval_and_is_then_trusted(verifier):
    appraisal, _ = verifier.attest("host1")
    assert [one.code for one in appraisal.result.findings] == ["NO_REFERENCE_VALUES"]
    assert appraisal.result.state is State.PENDING_APPROVAL
    reference, _ = verifier.capture("host1")
    appraisal, _ = verifier.attest("host1", reference)
    assert appraisal.result.findings == ()
    assert appraisal.result.state is State.TRUSTED


def test_what_is_shared_is_equal_on_hosts_of_a_model_and_the_rest_is_not(verifier):
    values = [verifier.capture(name)[0].pcrs for name in ("host1", "host2")]
    found = diff(*values, verifier.policy.boot, registers=compared_registers(verifier.policy))
    (rules,) = verifier.policy.banks
    assert tuple(one.pcr for one in found) == rules.per_host


def test_a_host_of_the_group_needs_its_own_values_for_what_is_its_own(verifier):
    of_group = replace(verifier.capture("host1")[0], hosts=frozenset(), groups=frozenset({"default"}))
    of_host = verifier.capture("host2")[0]
    alone = verifier.attest("host2", of_group)[0].result
    assert [one.code for one in alone.findings] == ["NO_REFERENCE_VALUES"]
    both = verifier.attest("host2", of_group, of_host)[0].result
    assert both.state is State.TRUSTED


@pytest.mark.parametrize("component", ["initrd", "xen", "kernel", "xen-cmdline", "kernel-cmdline"])
def test_a_change_of_dom0_is_seen_unless_only_firmware_is_measured(verifier, component):
    reference, log = verifier.capture("host1")
    verifier.pool.edit("host1", component)
    verifier.pool.reboot("host1")
    appraisal, text = verifier.attest("host1", reference)
    known = Known(stored_evidence(QuoteEvidence.from_json(text)), [reference], {reference.event_log: log})
    told = explain(appraisal.result, time.time(), known)
    if verifier.policy.name == "firmware":
        assert appraisal.result.state is State.TRUSTED
        return
    assert appraisal.result.state is State.UNTRUSTED_MEASUREMENT
    where = {one.where for one in appraisal.result.findings if one.failed}
    assert where == CHANGES[verifier.policy.name][component], told.text()
    if verifier.policy.name == "uefi-grub":
        assert WORDS[component] in " ".join(paragraph.title for paragraph in told.paragraphs), told.text()
        assert all(paragraph.notes for paragraph in told.paragraphs)


CHANGES = {
    "uefi-grub": {
        "initrd": {"sha256:9"},
        "xen": {"sha256:9"},
        "kernel": {"sha256:9"},
        "xen-cmdline": {"sha256:8", "sha256:9"},  # it is in grub.cfg, a file that is read
        "kernel-cmdline": {"sha256:8", "sha256:9"},
    },
    "txt": {
        "initrd": {"sha256:19"},
        "xen": {"sha256:18"},
        "kernel": {"sha256:19"},
        "xen-cmdline": {"sha256:18"},
        "kernel-cmdline": {"sha256:19"},
    },
}
WORDS = {
    "initrd": "dom0 initrd",
    "xen": "Xen",
    "kernel": "dom0 kernel",
    "xen-cmdline": "command line of Xen",
    "kernel-cmdline": "command line of dom0 kernel",
}


@pytest.mark.parametrize(("component", "pcr"), [("firmware", 0), ("boot-loader", 4)])
def test_a_change_of_firmware_or_boot_loader_is_seen(verifier, component, pcr):
    reference, _ = verifier.capture("host2")
    verifier.pool.edit("host2", component)
    verifier.pool.reboot("host2")
    result = verifier.attest("host2", reference)[0].result
    seen = {one.where for one in result.findings if one.failed}
    if verifier.policy.name == "txt" and component == "boot-loader":
        assert result.state is State.TRUSTED  # the launch proves what runs, whoever started it
    else:
        assert seen == {f"sha256:{pcr}"}


def test_the_logs_lead_to_what_the_policy_compares(verifier):
    appraisal, _ = verifier.attest("host1")
    evidence = appraisal.evidence
    known = measurements(evidence.pcrs, evidence.event_log, evidence.boot_log)
    logged = {("sha256", pcr) for pcr in verifier.policy.event_log_pcrs}
    assert logged <= set(known) or evidence.event_log is None


def test_a_launch_that_did_not_happen_cannot_be_captured(verifier):
    policy = shipped("txt")
    other = Verifier(verifier.pool, policy)
    appraisal, _ = other.attest("host1")
    codes = [one.code for one in appraisal.result.findings]
    assert ("DYNAMIC_LAUNCH_MISSING" in codes) is (verifier.policy.name != "txt")
    if verifier.policy.name == "txt":
        other.capture("host1")
        return
    with pytest.raises(CaptureError, match="DYNAMIC_LAUNCH_MISSING"):
        other.capture("host1")
