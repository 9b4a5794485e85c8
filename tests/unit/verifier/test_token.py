"""Signed results: checked here, by PyJWT as a stranger would, and by OpenSSL; and every way to refuse one."""

import base64
import dataclasses
import hmac
import json
import subprocess

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from xentpm_lib.errors import EvidenceError, FormatError, UsageError
from xentpm_lib.verifier.findings import FINDING_KINDS, finding
from xentpm_lib.verifier.result import (
    AttestationResult,
    PolicyUsed,
    ReferenceUsed,
    State,
    TpmClock,
    state_of,
)
from xentpm_lib.verifier.token import ear_status, jwks, sign_result, verify_token


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


KEY, OTHER = new_key(), new_key()
KEYS = json.dumps(jwks(KEY))
HOST = "2c6f1a52-6b0e-4d5c-9b0a-6f2a5d3c9e01"
NOW = 1769903999.75
TRUSTED = AttestationResult(
    host_id=HOST,
    host_name="xen-07 ü",
    pool_id="7d8b7e2c-0000-4000-8000-000000000001",
    findings=(),
    appraised_at=NOW - 0.5,
    expires_at=NOW + 900,
    policy=PolicyUsed("uefi-grub", "ab" * 32),
    references=(ReferenceUsed("id-1", "8.3 March", True),),
    clock=TpmClock(2**63, 7, 2, True, 0x10),
    ek_trust="certificate",
    evidence_digest="cd" * 32,
)


def with_findings(*codes):
    return dataclasses.replace(TRUSTED, findings=tuple(map(finding, codes)))


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def forged(change, key=KEY, **header):
    """A token of a station that writes what it should not: ``change`` gets the claims."""
    claims = claims_of(sign_result(TRUSTED, KEY, NOW))
    changed = change(claims)
    payload = json.dumps(claims if changed is None else changed).encode("ascii")
    fields = {"typ": "JWT", "kid": jwks(KEY)["keys"][0]["kid"], **header}
    return jwt.PyJWS().encode(payload, key, "ES256", {k: v for k, v in fields.items() if v is not None})


def refusal(token, now=NOW, host_id=HOST, keys=KEYS):
    with pytest.raises(EvidenceError) as caught:
        verify_token(token, keys, now, host_id)
    assert caught.value.code == "XENTPM_TOKEN_REFUSED"
    return caught.value.message


def test_round_trip():
    verified = verify_token(sign_result(TRUSTED, KEY, NOW), KEYS, NOW + 1, HOST)
    assert verified.result == TRUSTED
    assert verified.status == "affirming"
    assert verified.issued_at == 1769903999
    assert verified.key_id == jwks(KEY)["keys"][0]["kid"]


def test_the_claims():
    claims = claims_of(sign_result(TRUSTED, KEY, NOW))
    assert claims["eat_profile"] == "tag:github.com,2023:veraison/ear"
    assert claims["sub"] == HOST
    assert (claims["nbf"], claims["iat"], claims["exp"]) == (1769903999, 1769903999, 1769904899)
    assert claims["submods"] == {
        HOST: {
            "ear.status": "affirming",
            "ear.trustworthiness-vector": {"instance-identity": 2, "hardware": 2, "executables": 3},
            "ear.appraisal-policy-id": "xentpm:uefi-grub:sha256:" + "ab" * 32,
        }
    }
    assert claims["ear.verifier-id"]["developer"] == "xentpm"
    assert claims["xentpm.result"]["verdict"] == "trusted"


def test_a_stranger_verifies_with_pyjwt_alone():
    """What docs/attestation-results.md shows to orchestrators."""
    now = 1.5e9  # long ago for every machine's clock, which PyJWT asks
    token = sign_result(dataclasses.replace(TRUSTED, appraised_at=now, expires_at=4e9), KEY, now)
    published = jwt.PyJWKSet.from_json(KEYS)
    key = published[jwt.get_unverified_header(token)["kid"]].key
    claims = jwt.decode(token, key, algorithms=["ES256"], options={"require": ["exp", "iat", "sub"]})
    assert claims["submods"][HOST]["ear.status"] == "affirming"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token[:-86] + "A" * 86, key, algorithms=["ES256"])


def test_openssl_verifies(tmp_path):
    token = sign_result(TRUSTED, KEY, NOW)
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    parts = (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for name, data in (
        ("pem", pem),
        ("signature", encode_dss_signature(*parts)),
        ("signed", signed.encode()),
    ):
        (tmp_path / name).write_bytes(data)
    command = ["openssl", "dgst", "-sha256", "-verify", "pem", "-signature", "signature", "signed"]
    assert subprocess.check_output(command, cwd=tmp_path).strip() == b"Verified OK"


def test_the_key_set():
    (key,) = jwks(KEY)["keys"]
    assert sorted(key) == ["alg", "crv", "kid", "kty", "use", "x", "y"]
    assert jwks(KEY.public_key()) == jwks(KEY)
    assert len({one["kid"] for one in jwks(KEY, OTHER)["keys"]}) == 2
    verify_token(sign_result(TRUSTED, OTHER, NOW), json.dumps(jwks(KEY, OTHER)), NOW, HOST)


def test_a_key_whose_point_begins_with_zeros():
    """One key in 128 has such a point. Its coordinates are as long as others (RFC 7518, section 6.2.1.2)."""
    points = ((key, key.public_key().public_numbers()) for key in iter(new_key, None))
    short = next(key for key, point in points if min(point.x, point.y).bit_length() <= 248)
    (published,) = jwks(short)["keys"]
    assert (len(published["x"]), len(published["y"])) == (43, 43)
    verify_token(sign_result(TRUSTED, short, NOW), json.dumps(jwks(short)), NOW, HOST)


@pytest.mark.parametrize("code", sorted(FINDING_KINDS))
def test_the_status_of_every_finding(code):
    """Only a host whose state is trusted affirms, and none with a warning does."""
    result = with_findings(code)
    status = ear_status(result)
    verified = verify_token(sign_result(result, KEY, NOW), KEYS, NOW, HOST)
    assert (verified.status, verified.result) == (status, result)
    if state_of(result.findings) is State.TRUSTED:
        assert status == ("affirming" if code == "HOST_REBOOTED" else "warning")
    else:
        assert status in ("contraindicated", "none")


@pytest.mark.parametrize(
    "codes, status, vector",
    [
        (["EK_FIRST_USE"], "warning", (2, 2, 3)),
        (["PCR_CHANGED"], "contraindicated", (2, 2, 33)),
        (["ASSET_TAG_WRONG"], "contraindicated", (2, 2, 0)),
        (["PCR_CHANGED", "SIGNATURE_INVALID"], "contraindicated", (97, 0, 0)),
        (["NONCE_MISMATCH"], "contraindicated", (0, 0, 0)),
        (["HOST_OFFLINE"], "none", (0, 0, 0)),
        (["NO_REFERENCE_VALUES"], "none", (0, 0, 0)),
    ],
)
def test_the_vector(codes, status, vector):
    appraisal = claims_of(sign_result(with_findings(*codes), KEY, NOW))["submods"][HOST]
    assert appraisal["ear.status"] == status
    assert tuple(appraisal["ear.trustworthiness-vector"].values()) == vector


@pytest.mark.parametrize(
    "ek_trust, identity, hardware", [("certificate", 2, 2), ("pinned", 2, 0), ("first_use", 0, 0), ("", 0, 0)]
)
def test_the_vector_by_what_vouches_for_the_key(ek_trust, identity, hardware):
    claims = claims_of(sign_result(dataclasses.replace(TRUSTED, ek_trust=ek_trust), KEY, NOW))
    vector = claims["submods"][HOST]["ear.trustworthiness-vector"]
    assert (vector["instance-identity"], vector["hardware"]) == (identity, hardware)


@pytest.mark.parametrize("appraised_at", [0.0, 1.9999996, NOW - 0.0000001, 1769903998.9999998])
def test_times_that_round(appraised_at):
    result = dataclasses.replace(TRUSTED, appraised_at=appraised_at)
    verify_token(sign_result(result, KEY, NOW), KEYS, NOW + 1, HOST)


@pytest.mark.parametrize("expires_at", [NOW - 1, NOW, NOW + 0.2, 0.0])
def test_an_expired_result_is_not_signed(expires_at):
    with pytest.raises(EvidenceError) as caught:
        sign_result(dataclasses.replace(TRUSTED, expires_at=expires_at), KEY, NOW)
    assert caught.value.code == "XENTPM_RESULT_EXPIRED"


def test_a_result_that_is_too_large_is_not_signed():
    big = dataclasses.replace(TRUSTED, findings=(finding("PLUGIN_ERROR", detail="x" * 1024 * 1024),))
    with pytest.raises(FormatError, match="characters"):
        sign_result(big, KEY, NOW)


def test_expiry():
    token = sign_result(TRUSTED, KEY, NOW)
    assert verify_token(token, KEYS, NOW + 899, HOST).status == "affirming"
    for late in (1769904899, NOW + 901, NOW + 1e9, float("inf"), float("nan")):
        assert "expired" in refusal(token, now=late)


def test_not_yet():
    token = sign_result(TRUSTED, KEY, NOW)
    verify_token(token, KEYS, NOW - 59, HOST)
    for early in (NOW - 62, 0, float("-inf")):
        assert "future" in refusal(token, now=early)


def test_a_station_whose_clock_jumped():
    later = dataclasses.replace(TRUSTED, appraised_at=NOW + 300)
    assert "future" in refusal(sign_result(later, KEY, NOW))
    assert "future" in refusal(sign_result(TRUSTED, KEY, NOW + 300))


def test_about_another_host():
    assert "another host" in refusal(sign_result(TRUSTED, KEY, NOW), host_id=HOST.replace("2", "3"))


def test_by_another_key():
    assert "not trusted" in refusal(sign_result(TRUSTED, OTHER, NOW))
    assert "signature" in refusal(forged(lambda claims: None, key=OTHER))


@pytest.mark.parametrize("keys", ["", "{}", '{"keys":[]}', "junk"])
def test_without_keys(keys):
    with pytest.raises(UsageError):
        verify_token(sign_result(TRUSTED, KEY, NOW), keys, NOW, HOST)


@pytest.mark.parametrize(
    "header",
    [
        {"typ": ""},
        {"typ": "at+jwt"},
        {"kid": None},
        {"kid": "another"},
        {"jwk": {}},
        {"jku": "https://attacker.example/jwks"},
        {"crit": ["b64"], "b64": True},
        {"cty": "JWT"},
    ],
    ids=str,
)
def test_another_header(header):
    assert refusal(forged(lambda claims: None, **header))


def segment(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def resigned(algorithm, key):
    payload = sign_result(TRUSTED, KEY, NOW).split(".")[1]
    data = base64.urlsafe_b64decode(payload + "===")
    headers = {"typ": "JWT", "kid": jwks(KEY)["keys"][0]["kid"]}
    if algorithm == "HS256":  # PyJWT will not take a public key for a secret; an attacker does
        signed = segment(json.dumps({**headers, "alg": algorithm}).encode()) + "." + payload
        return signed + "." + segment(hmac.digest(key, signed.encode(), "sha256"))
    return jwt.PyJWS().encode(data, key, algorithm, headers)


def test_other_algorithms():
    public = KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for algorithm, key in (
        ("none", None),
        ("HS256", public),
        ("ES384", ec.generate_private_key(ec.SECP384R1())),
        ("RS256", rsa.generate_private_key(65537, 2048)),
    ):
        assert "ES256" in refusal(resigned(algorithm, key))


def set_claim(*path):
    *steps, value = path

    def change(claims):
        target = claims
        for step in steps[:-1]:
            target = target[step]
        target[steps[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_claim("eat_profile", "other"),
        set_claim("exp", 4_000_000_000),
        set_claim("exp", None),
        set_claim("iat", True),
        set_claim("iat", 1.5),
        set_claim("iat", "1"),
        set_claim("nbf", 1),
        set_claim("sub", "another"),
        set_claim("submods", {}),
        set_claim("submods", HOST, "ear.status", "warning"),
        set_claim("submods", HOST, "ear.trustworthiness-vector", "hardware", 3),
        set_claim("submods", "another", {"ear.status": "affirming"}),
        set_claim("ear.verifier-id", "xentpm"),
        set_claim("ear.verifier-id", "build", 1),
        set_claim("xentpm.result", None),
        set_claim("xentpm.result", "verdict", "untrusted"),
        set_claim("xentpm.result", "expires_at", "2099-01-01T00:00:00.000Z"),
        set_claim("xentpm.result", "findings", [{}]),
        set_claim("aud", "somebody"),
        lambda claims: claims.pop("xentpm.result") and None,
        lambda claims: claims.pop("exp") and None,
        lambda claims: [],
        lambda claims: "text",
    ],
)
def test_claims_that_no_station_writes(change):
    assert refusal(forged(change))


def test_damage_anywhere():
    token = sign_result(TRUSTED, KEY, NOW)
    for position in range(0, len(token), 7):
        other = "A" if token[position] != "A" else "B"
        assert refusal(token[:position] + other + token[position + 1 :])


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.e.e",
        "\ud800",
        "x" * (1024 * 1024 + 1),
        segment(b"[" * 100_000) + ".e30.AAAA",
        segment(b"[" * 300) + ".e30.AAAA",
        segment(b"\xff") + ".e30.AAAA",
        segment(b'{"alg":"ES256"}') + "..",
    ],
    ids=map(str, range(11)),
)
def test_what_is_no_token(token):
    assert refusal(token)
