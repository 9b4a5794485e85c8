"""The plugin's functions, each in a process of its own against a real software TPM."""

import json

import pytest

from support.dom0 import HOST_UUID, NONCE, SYSTEM_UUID, PluginFailed
from xentpm_lib.evidence.encoding import decode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Attest

TAG = "f572d396fae9206628714fb2ce00f72e94f2258f"


def test_identity_is_stable_and_complete(new_dom0):
    first = new_dom0.call("tpm_get_attestation_identity")
    assert new_dom0.call("tpm_get_attestation_identity") == first
    identity = Identity.from_xml(first)
    assert identity.system_uuid == SYSTEM_UUID
    assert identity.ek_certificate is not None
    assert identity.ak.attestation_key_faults() == ()


def test_identity_survives_a_power_cycle(dom0):
    before = dom0.call("tpm_get_attestation_identity")
    dom0.tpm.power_cycle()
    assert dom0.call("tpm_get_attestation_identity") == before


def test_quote_is_over_the_nonce_and_all_pcrs(dom0):
    evidence = QuoteEvidence.from_json(dom0.call("tpm_get_quote", nonce=NONCE))
    attest = Attest.from_bytes(evidence.attest)
    assert attest.extra_data == decode_base64(NONCE, "nonce", 32, 32)
    assert attest.quote.selection.to_text() == "sha256:all"
    assert sorted(evidence.untrusted_pcrs["sha256"]) == list(range(24))
    assert evidence.untrusted_host_uuid == HOST_UUID
    assert evidence.asset_tag is None


def test_quote_has_two_names(dom0):
    evidence = QuoteEvidence.from_json(dom0.call("quote", nonce=NONCE, pcrs="sha1:3+sha256:0,1"))
    assert sorted(evidence.untrusted_pcrs) == ["sha1", "sha256"]


def test_tag_is_set_proven_and_cleared(dom0):
    assert json.loads(dom0.call("tpm_set_asset_tag", tag=TAG)) == {"asset_tag": TAG, "reboot_required": True}
    tag = QuoteEvidence.from_json(dom0.call("tpm_get_quote", nonce=NONCE)).asset_tag
    certified = Attest.from_bytes(tag.attest)
    assert certified.nv.contents.hex() == TAG
    assert certified.extra_data == decode_base64(NONCE, "nonce", 32, 32)
    assert json.loads(dom0.call("tpm_clear_asset_tag"))["asset_tag"] is None
    assert json.loads(dom0.call("tpm_clear_asset_tag"))["asset_tag"] is None


def test_unknown_function_fails_as_xapi_has_it(dom0):
    with pytest.raises(PluginFailed) as failed:
        dom0.call("tpm_make_coffee")
    assert failed.value.description == ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", "tpm_make_coffee"]
