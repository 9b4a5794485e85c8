"""The appraisal of real evidence: of swtpm, through the plugin, after simulated boots with their logs."""

import json
import time
from dataclasses import replace

import pytest

from support.evidence_maker import make_policy, sole_bank_rules
from support.pool import running_pool
from xentpm_lib.evidence.encoding import encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.verifier.appraisal import appraise
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.policy.model import BootPath, Replay
from xentpm_lib.verifier.records import EkTrust, HostRecord, ReferenceValues
from xentpm_lib.verifier.result import State, Verdict

NAME = "host1"
RULES = replace(sole_bank_rules(), shared=(0, 2, 3, 4, 6, 7), per_host=(1, 5, 8, 9))
POLICY = make_policy(banks=(RULES,), replay=Replay.REQUIRED, event_log_pcrs=tuple(range(10)))
TAG = bytes(range(1, 33))


@pytest.fixture(scope="module")
def pool():
    with running_pool(1) as running:
        yield running


class Station:
    """What a verifier knows of the pool's host."""

    def __init__(self, pool):
        self.pool, self.book, self.policy = pool, ChallengeBook(), POLICY
        self.record, self.references, self.previous = self.enrolled(), [], None

    def enrolled(self):
        host = self.pool.host(NAME)
        identity = Identity.from_xml(self.pool.call_plugin(NAME, "tpm_get_attestation_identity"))
        assert identity.ak.attestation_key_faults() == ()
        return HostRecord(
            host_id=host.uuid,
            pool_id="9d2f8a6e-4b1c-4f6e-9a53-0d5a4d1f7c11",
            name=NAME,
            system_uuid=identity.system_uuid,
            ek=identity.ek,
            ak=identity.ak,
            ek_trust=EkTrust.CERTIFICATE,
            ek_certificate=None,
            enrolled_at=time.time(),
            serial=1,
        )

    def ask(self):
        """A challenge and the host's answer to it."""
        challenge = self.book.issue(self.record, self.policy)
        arguments = {"nonce": encode_base64(challenge.nonce), "pcrs": challenge.selection.to_text()}
        return challenge, self.pool.call_plugin(NAME, "tpm_get_quote", **arguments)

    def attest(self):
        challenge, text = self.ask()
        return self.judge(text, self.book.redeem(challenge))

    def judge(self, text, redeemed):
        made = appraise(text, redeemed, self.record, self.references, self.policy, self.previous, time.time())
        if made.result.clock is not None:
            self.previous = made.result.clock
        return made

    def approve(self):
        """Take what the host shows as its reference values."""
        shown = self.attest().evidence
        hosts = frozenset({self.record.host_id})
        self.references = [
            ReferenceValues("1", "as it is", "captured", time.time(), "jo", shown.pcrs, hosts=hosts)
        ]

    def codes(self):
        return [found.code for found in self.attest().result.findings]


@pytest.fixture
def station(pool):
    station = Station(pool)
    station.approve()
    return station


def test_trusted_with_a_log_that_leads_to_every_value(station):
    appraisal = station.attest()
    assert appraisal.result.findings == ()
    assert appraisal.result.verdict is Verdict.TRUSTED
    assert len(appraisal.evidence.events.events) > 20


def test_an_old_answer_to_an_old_question(station):
    challenge, text = station.ask()
    assert station.judge(text, station.book.redeem(challenge)).result.verdict is Verdict.TRUSTED
    again, _ = station.ask()
    result = station.judge(text, station.book.redeem(again)).result
    assert [found.code for found in result.findings] == ["NONCE_MISMATCH"]


def test_a_reboot_is_seen_and_changes_nothing(station):
    assert station.codes() == []
    station.pool.reboot(NAME)
    assert station.codes() == ["HOST_REBOOTED"]
    assert station.codes() == []


@pytest.mark.parametrize("component, pcr", [("initrd", 9), ("xen", 9), ("firmware", 0)])
def test_a_changed_component(station, component, pcr):
    station.pool.edit(NAME, component)
    station.pool.reboot(NAME)
    result = station.attest().result
    changed = [found for found in result.findings if found.code == "PCR_CHANGED"]
    assert [found.where for found in changed] == [f"sha256:{pcr}"]
    assert result.state is State.UNTRUSTED_MEASUREMENT
    station.approve()
    assert station.codes() == []


def test_a_log_without_an_event_and_one_with_a_bit_more(station):
    challenge, text = station.ask()
    redeemed = station.book.redeem(challenge)
    document = json.loads(text)
    log = document["event_log"]
    document["event_log"] = log[: len(log) // 2 // 4 * 4]
    result = station.judge(json.dumps(document), redeemed).result
    assert {found.code for found in result.findings} <= {"EVENT_LOG_MALFORMED", "EVENT_LOG_MISMATCH"}
    assert result.state is State.UNTRUSTED_EVIDENCE


@pytest.mark.parametrize("size", [20, 32, 48])
def test_an_asset_tag(station, size):
    tag = bytes(range(1, size + 1))
    station.pool.call_plugin(NAME, "tpm_set_asset_tag", tag=tag.hex())
    try:
        assert station.codes() == ["ASSET_TAG_UNEXPECTED"]
        station.record = replace(station.record, asset_tag=tag)
        appraisal = station.attest()
        assert (appraisal.result.findings, appraisal.evidence.tag) == ((), tag)
        station.record = replace(station.record, asset_tag=tag[::-1])
        assert station.codes() == ["ASSET_TAG_WRONG"]
    finally:
        station.pool.call_plugin(NAME, "tpm_clear_asset_tag")
    assert station.codes() == ["ASSET_TAG_MISSING"]


def test_a_tag_of_an_old_answer(station):
    """The certificate of a tag that was cleared since, put into today's evidence."""
    station.pool.call_plugin(NAME, "tpm_set_asset_tag", tag=TAG.hex())
    old = json.loads(station.ask()[1])["asset_tag"]
    station.pool.call_plugin(NAME, "tpm_clear_asset_tag")
    station.record = replace(station.record, asset_tag=TAG)
    challenge, text = station.ask()
    document = json.loads(text)
    assert document["asset_tag"] is None
    document["asset_tag"] = old
    result = station.judge(json.dumps(document), station.book.redeem(challenge)).result
    assert [found.code for found in result.findings] == ["ASSET_TAG_INVALID"]


def test_a_dynamic_launch_that_was_not(station):
    station.policy = replace(POLICY, dynamic_launch=True, boot=BootPath.TXT)
    assert "DYNAMIC_LAUNCH_MISSING" in station.codes()


def test_a_bank_that_the_firmware_extends_beside_one_that_it_does_not_ask_for(station):
    """SHA-1 is never among the banks of a policy; quotes over it are not what was asked for."""
    challenge = station.book.issue(station.record, station.policy)
    text = station.pool.call_plugin(
        NAME, "tpm_get_quote", nonce=encode_base64(challenge.nonce), pcrs="sha1:all+sha256:all"
    )
    result = station.judge(text, station.book.redeem(challenge)).result
    assert [found.code for found in result.findings] == ["PCR_SELECTION"]


def test_another_tpm(station):
    """Last: the host keeps it."""
    station.pool.replace_tpm(NAME)
    result = station.attest().result
    assert {"AK_CHANGED", "SIGNATURE_INVALID"} == {found.code for found in result.findings}
    assert result.state is State.UNTRUSTED_KEY
    station.record = station.enrolled()
    station.previous = None
    assert station.codes() == []
