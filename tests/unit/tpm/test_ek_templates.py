"""The EK templates: their policies are computed here again, by the arithmetic of the specification.

Spec: TCG EK Credential Profile 2.5, B.6 ("Policies"); TPM 2.0 Library, Part 3 "PolicySecret", "PolicyOR",
"PolicyAuthorizeNV".
"""

import hashlib

import pytest

from xentpm_lib.evidence.algorithms import digest, digest_size, hash_by_name
from xentpm_lib.tpm.ek_templates import EK_TEMPLATES, needs_policy, template_of

RH_ENDORSEMENT = bytes.fromhex("4000000b")
CC_POLICY_SECRET = bytes.fromhex("00000151")
CC_POLICY_OR = bytes.fromhex("00000171")
CC_POLICY_AUTHORIZE_NV = bytes.fromhex("00000192")
POLICY_INDEX = {"sha256": 0x01C07F01, "sha384": 0x01C07F02, "sha512": 0x01C07F03}
POLICY_INDEX_ATTRIBUTES = 0x220F1008  # written

BY_NAME = {template.name: template for template in EK_TEMPLATES}
LOW = [template for template in EK_TEMPLATES if template.name.startswith("L")]
HIGH = [template for template in EK_TEMPLATES if template.name.startswith("H")]


def _policy_a(bank):
    """PolicySecret(TPM_RH_ENDORSEMENT): command and Name first, the (empty) policyRef after that."""
    once = digest(bank, bytes(digest_size(bank)) + CC_POLICY_SECRET + RH_ENDORSEMENT)
    return digest(bank, once)


def _policy_c(bank):
    """PolicyAuthorizeNV with the index that the profile reserves for a policy of the owner."""
    public = POLICY_INDEX[bank].to_bytes(4, "big") + hash_by_name(bank).tpm_id.to_bytes(2, "big")
    policy = _policy_a(bank)
    public += POLICY_INDEX_ATTRIBUTES.to_bytes(4, "big") + len(policy).to_bytes(2, "big") + policy
    public += (digest_size(bank) + 2).to_bytes(2, "big")
    name = hash_by_name(bank).tpm_id.to_bytes(2, "big") + digest(bank, public)
    return digest(bank, bytes(digest_size(bank)) + CC_POLICY_AUTHORIZE_NV + name)


def _policy_b(bank):
    """PolicyOR of A and C."""
    return digest(bank, bytes(digest_size(bank)) + CC_POLICY_OR + _policy_a(bank) + _policy_c(bank))


@pytest.mark.parametrize("template", LOW, ids=lambda template: template.name)
def test_policy_of_the_low_range(template):
    assert template.public.auth_policy == _policy_a("sha256")
    assert needs_policy(template.public)


@pytest.mark.parametrize("template", HIGH, ids=lambda template: template.name)
def test_policy_of_the_high_range(template):
    assert template.public.auth_policy == _policy_b(template.public.name_alg)
    assert not needs_policy(template.public)


@pytest.mark.parametrize("template", EK_TEMPLATES, ids=lambda template: template.name)
def test_attributes(template):
    assert template.public.attributes == (0x000300B2 if template.name.startswith("L") else 0x000300F2)
    assert template_of(template.public) == (template,)


@pytest.mark.parametrize(
    "name, index, kind, size",
    [
        ("L-1", 0x01C00002, "rsa", 2048),
        ("L-2", 0x01C0000A, "ecc", "nist_p256"),
        ("H-1", 0x01C00012, "rsa", 2048),
        ("H-2", 0x01C00014, "ecc", "nist_p256"),
        ("H-3", 0x01C00016, "ecc", "nist_p384"),
        ("H-4", 0x01C00018, "ecc", "nist_p521"),
        ("H-6", 0x01C0001C, "rsa", 3072),
        ("H-7", 0x01C0001E, "rsa", 4096),
    ],
)
def test_table(name, index, kind, size):
    template = BY_NAME[name]
    assert template.certificate_index == index
    assert template.public.type == kind
    assert size == (template.public.key_bits if kind == "rsa" else template.public.curve)


def test_rsa_comes_first_and_low_before_high():
    assert [template.name for template in EK_TEMPLATES][:3] == ["L-1", "L-2", "H-1"]


def test_a_template_is_found_by_a_key_of_it_and_not_by_others():
    public = BY_NAME["L-1"].public
    assert template_of(public._replace(modulus=b"\x01" * 256)) == (BY_NAME["L-1"],)
    for change in (
        {"attributes": 0x000300F2},
        {"auth_policy": b""},
        {"name_alg": "sha1"},
        {"key_bits": 3072},
    ):
        assert template_of(public._replace(**change)) == ()


def test_the_arithmetic_is_the_specifications():
    """PolicyA of SHA-256, which the specification and every TPM's EK have."""
    inner = hashlib.sha256(bytes(32) + CC_POLICY_SECRET + RH_ENDORSEMENT).digest()
    assert hashlib.sha256(inner).hexdigest().startswith("837197674484b3f81a90cc8d46a5d724")
