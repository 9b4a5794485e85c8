"""docs/attestation-results.md is what the code does: its table, its examples, its program."""

import re
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from xentpm_lib.verifier.findings import FINDING_KINDS, LASTING, finding
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, ReferenceUsed, State, TpmClock
from xentpm_lib.verifier.result_json import result_from_json
from xentpm_lib.verifier.result_text import result_to_text
from xentpm_lib.verifier.token import jwks, sign_result

TEXT = (Path(__file__).resolve().parents[3] / "docs/attestation-results.md").read_text("utf-8")
KEY = ec.generate_private_key(ec.SECP256R1())


def block(language):
    (found,) = re.findall("^```{}\n(.*?)^```$".format(language), TEXT, re.MULTILINE | re.DOTALL)
    return found


def test_every_finding_is_in_the_table():
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\w+) \| (\w+) \| (yes|no) \| (.*) \|$", TEXT, re.MULTILINE)
    expected = [
        (code, kind.category.value, kind.severity.value, "yes" if kind.adjustable else "no", kind.title)
        for code, kind in FINDING_KINDS.items()
    ]
    assert rows == expected


def test_the_findings_that_last_are_named():
    (sentence,) = re.findall(r"^((?:`[A-Z_]+`(?:, | and ))+`[A-Z_]+`) last:", TEXT, re.MULTILINE)
    assert re.findall("[A-Z_]+", sentence) == sorted(LASTING)


def test_every_state_is_in_the_table():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (trusted|untrusted) \|", TEXT, re.MULTILINE))
    assert set(rows) == {state.value for state in State}
    assert [name for name, verdict in rows.items() if verdict == "trusted"] == ["trusted"]


def test_the_examples_are_one_result():
    text = block("text")
    result = result_from_json(block("json"))
    assert result_to_text(result) == text


def result(host_id, *codes, lasts=900.0):
    now = time.time()
    return AttestationResult(
        host_id=host_id,
        host_name="xen-07",
        pool_id="pool",
        findings=tuple(map(finding, codes)),
        appraised_at=now - 1,
        expires_at=now + lasts,
        policy=PolicyUsed("uefi-grub", "ab" * 32),
        references=(ReferenceUsed("id", "label", True),),
        clock=TpmClock(1, 2, 3, True, 4),
        ek_trust="certificate",
    )


@pytest.fixture(scope="module")
def is_trusted():
    names = {}
    exec(compile(block("python"), "docs/attestation-results.md", "exec"), names)
    return names["is_trusted"]


def keys_text(*keys):
    import json

    return json.dumps(jwks(*keys))


def test_the_program(is_trusted):
    now = time.time()
    good = sign_result(result("host-1"), KEY, now)
    assert is_trusted(good, keys_text(KEY), "host-1") is True
    assert is_trusted(good, keys_text(KEY), "host-2") is False
    for code in FINDING_KINDS:
        if code != "HOST_REBOOTED":
            assert (
                is_trusted(sign_result(result("host-1", code), KEY, now), keys_text(KEY), "host-1") is False
            )
    with pytest.raises(KeyError):
        is_trusted(good, keys_text(ec.generate_private_key(ec.SECP256R1())), "host-1")
    for bad in (good[:-86] + "A" * 86, "", sign_result(result("host-1", lasts=-99.0), KEY, now - 1000)):
        with pytest.raises(jwt.PyJWTError):
            is_trusted(bad, keys_text(KEY), "host-1")
