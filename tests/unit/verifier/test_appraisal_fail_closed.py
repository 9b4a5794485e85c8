"""Nothing but valid evidence ever gives trusted: the half of tests/test_fail_closed.py that the verifier has.

The evidence is valid; each test takes one thing from it, empties it, flips a bit of it or puts another thing
in its place. Whatever comes out, it is a result, and it is not trusted.
"""

import copy
import json
import random
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.evidence_maker import SoftwareAttester, make_key, make_policy, sole_bank_rules
from support.examples import examples
from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.encoding import decode_base64, encode_base64
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import appraise
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.findings import FINDING_KINDS, Category, Severity, finding
from xentpm_lib.verifier.policy.model import Replay, TagRule
from xentpm_lib.verifier.records import EkTrust
from xentpm_lib.verifier.result import AttestationResult, State, TpmClock, Verdict, state_of

NOW = 1_800_000_000.0
HOST = SoftwareAttester(tag=bytes(range(32)))
OTHER = SoftwareAttester(tag=bytes(range(32)), name="host2")
POLICY = make_policy(replay=Replay.REQUIRED, asset_tag=TagRule.REQUIRED, event_log_pcrs=tuple(range(10)))
RECORD, REFERENCE = HOST.record(), HOST.reference()
REDEEMED = (lambda book: book.redeem(book.issue(RECORD, POLICY)))(ChallengeBook(lambda: NOW))
NONCE = REDEEMED.challenge.nonce
TEXT = HOST.text(NONCE)
DOCUMENT = json.loads(TEXT)
PREVIOUS = TpmClock(HOST.clock, HOST.reset_count, HOST.restart_count, True, HOST.firmware_version)


def _appraise(text, **changes):
    given_ = {
        "challenge": REDEEMED,
        "host": RECORD,
        "references": [REFERENCE],
        "policy": POLICY,
        "previous": PREVIOUS,
        "now": NOW,
    }
    given_.update(changes)
    return appraise(text, **given_)


def _untrusted(text, **changes):
    appraisal = _appraise(text, **changes)
    assert appraisal.result.verdict is Verdict.UNTRUSTED
    assert appraisal.result.state is not State.TRUSTED
    assert any(found.failed for found in appraisal.result.findings)
    return appraisal


def _paths(value, path=()):
    """The path of every member below ``value``."""
    found = []
    if isinstance(value, dict):
        for key in value:
            found += [(*path, key), *_paths(value[key], (*path, key))]
    return found


def _at(document, path):
    for key in path:
        document = document[key]
    return document


def _with(path, value):
    document = copy.deepcopy(DOCUMENT)
    _at(document, path[:-1])[path[-1]] = value
    return json.dumps(document)


PATHS = _paths(DOCUMENT)
HARMLESS = {("boot_log",), ("created",)}  # proven by nothing, and nothing follows from them


def test_the_evidence_itself_is_trusted():
    appraisal = _appraise(TEXT)
    assert appraisal.result.verdict is Verdict.TRUSTED
    assert appraisal.result.findings == ()
    assert _appraise(json.dumps(DOCUMENT, indent=2)).result.verdict is Verdict.TRUSTED  # white space is free


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_absent(path):
    document = copy.deepcopy(DOCUMENT)
    del _at(document, path[:-1])[path[-1]]
    _untrusted(json.dumps(document))


WRONG = [None, True, False, 0, 1, 1.5, "", " ", "unknown", "AA==", "00", [], ["x"], {}, {"x": "y"}]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_empty_or_of_another_kind(path, wrong):
    if (
        path == ("boot_log",)
        and wrong in (None, [])
        or path == ("version",)
        and wrong is not True
        and wrong == 1
    ):
        return
    _untrusted(_with(path, wrong))


@pytest.mark.parametrize(
    "path", [(), *[path for path in PATHS if isinstance(_at(DOCUMENT, path), dict)]], ids=".".join
)
@pytest.mark.parametrize("key", ["unknown", "", "Version", "trusted", "verdict", "sha257", "24"])
def test_a_member_too_many(path, key):
    document = copy.deepcopy(DOCUMENT)
    _at(document, path)[key] = "1"
    _untrusted(json.dumps(document))


@pytest.mark.parametrize("path", [path for path in PATHS if path not in HARMLESS], ids=".".join)
def test_the_same_member_of_another_host(path):
    """Valid itself, for the same nonce, and signed: but by another TPM, or not what this one signed."""
    value = _at(json.loads(OTHER.text(NONCE)), path)
    if value == _at(DOCUMENT, path):
        return
    _untrusted(_with(path, value))


def test_all_of_another_host():
    _untrusted(OTHER.text(NONCE))
    _untrusted(TEXT, host=OTHER.record())
    _untrusted(TEXT, references=[OTHER.reference()])


BINARY = [
    ("quote", "attest"),
    ("quote", "signature"),
    ("ak", "public"),
    ("asset_tag", "attest"),
    ("asset_tag", "signature"),
    ("asset_tag", "nv_public"),
]


@pytest.mark.parametrize("path", BINARY, ids=".".join)
def test_any_bit(path):
    data = decode_base64(_at(DOCUMENT, path), "", 0, 10_000)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        _untrusted(_with(path, encode_base64(bytes(changed))))


@pytest.mark.parametrize("path", BINARY, ids=".".join)
def test_any_length(path):
    data = decode_base64(_at(DOCUMENT, path), "", 0, 10_000)
    for wrong in [*[data[:size] for size in range(1, len(data))], data + b"\0", b"\0" + data, data * 2]:
        _untrusted(_with(path, encode_base64(wrong)))


@pytest.mark.parametrize("pcr", range(24))
def test_any_register(pcr):
    path = ("quote", "pcrs", "sha256", str(pcr))
    value = bytes.fromhex(_at(DOCUMENT, path))
    for bit in range(256):
        changed = bytearray(value)
        changed[bit // 8] ^= 1 << bit % 8
        _untrusted(_with(path, changed.hex()))
    for other in range(24):
        if HOST.pcrs["sha256"][other] != value:
            _untrusted(_with(path, HOST.pcrs["sha256"][other].hex()))


@pytest.mark.parametrize("pcr", [0, 1, 2, 4, 7, 8, 9])
def test_any_register_that_is_really_another(pcr):
    """The TPM signs it truly: but nobody has approved it."""
    pcrs = copy.deepcopy(HOST.pcrs)
    HOST.extend(pcr, b"something else")
    try:
        text = HOST.text(NONCE)
    finally:
        HOST.pcrs = pcrs
    codes = [found.code for found in _untrusted(text).result.findings]
    assert "PCR_CHANGED" in codes


# Any text


_trusted_parts = QuoteEvidence.from_json(TEXT)


def _never_wrongly_trusted(text):
    """Trusted only if what was signed, and what it was signed by, is what the TPM made."""
    result = _appraise(text).result
    if result.verdict is Verdict.UNTRUSTED:
        assert any(found.failed for found in result.findings)
        return
    read = QuoteEvidence.from_json(text)
    changeable = {"untrusted_created": "", "untrusted_event_log": b"", "untrusted_boot_log": None}
    assert read._replace(**changeable) == _trusted_parts._replace(**changeable)


_EXAMPLES = examples(300)


@_EXAMPLES
@given(st.text())
def test_any_text(text):
    _untrusted(text)


@pytest.mark.slow
@_EXAMPLES
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json(value):
    _untrusted(json.dumps(value))


@_EXAMPLES
@given(st.integers(0, len(TEXT)), st.integers(0, 40), st.text(max_size=8))
def test_any_edit(start, length, inserted):
    _never_wrongly_trusted(TEXT[:start] + inserted + TEXT[start + length :])


@_EXAMPLES
@given(st.integers(0, len(TEXT) - 1), st.sampled_from('0123456789abcdefABCDEF+/=Zz{}[]",:\\ \n'))
def test_any_character(position, character):
    _never_wrongly_trusted(TEXT[:position] + character + TEXT[position + 1 :])


@pytest.mark.parametrize("seed", range(20))
def test_any_members_taken_from_others(seed):
    """Evidence put together of valid evidence: of another host, another nonce, another boot."""
    chosen = random.Random(seed)
    rebooted = SoftwareAttester(
        key=HOST.key, host_id=HOST.host_id, system_uuid=HOST.system_uuid, tag=HOST.tag
    )
    rebooted.reboot(reset_count=3)
    sources = [DOCUMENT, *map(json.loads, (OTHER.text(NONCE), HOST.text(bytes(32)), rebooted.text(NONCE)))]
    leaves = [path for path in PATHS if not isinstance(_at(DOCUMENT, path), dict)]
    for _ in range(50):
        document = copy.deepcopy(DOCUMENT)
        for path in chosen.sample(leaves, chosen.randrange(1, 6)):
            _at(document, path[:-1])[path[-1]] = _at(chosen.choice(sources), path)
        _never_wrongly_trusted(json.dumps(document))


# What the verifier itself has


@pytest.mark.parametrize(
    "changes",
    [
        {"references": []},
        {"references": [replace(REFERENCE, pcrs={})]},
        {"references": [replace(REFERENCE, pcrs={"sha256": {}})]},
        {"references": [replace(REFERENCE, pcrs={"sha1": {pcr: bytes(20) for pcr in range(24)}})]},
        {"references": [replace(REFERENCE, hosts=frozenset())]},
        {"references": [replace(REFERENCE, retired_at=NOW + 1)]},
        {"host": replace(RECORD, ak=OTHER.ak)},
        {"host": replace(RECORD, host_id=OTHER.host_id)},
        {"host": replace(RECORD, asset_tag=None)},
        {"host": replace(RECORD, asset_tag=b"")},
        {"host": replace(RECORD, asset_tag=bytes(32))},
        {"host": replace(RECORD, ek_trust=EkTrust.FIRST_USE)},
        {"policy": make_policy(banks=())},
        {"policy": make_policy(banks=(sole_bank_rules("sha1"),))},
        {"policy": make_policy(banks=(sole_bank_rules("sha384"),))},
        {"policy": make_policy(banks=(replace(sole_bank_rules(), shared=(), per_host=()),))},
        {"policy": make_policy(hashes=frozenset())},
        {"policy": make_policy(ek_trust=frozenset())},
        {"policy": make_policy(dynamic_launch=True)},
        {"previous": replace(PREVIOUS, reset_count=8)},
        {"previous": replace(PREVIOUS, clock=HOST.clock + 1)},
        {"now": float("nan")},
        {"now": float("inf")},
        {"challenge": replace(REDEEMED, challenge=replace(REDEEMED.challenge, nonce=bytes(32)))},
        {"challenge": replace(REDEEMED, challenge=replace(REDEEMED.challenge, nonce=b""))},
        {"challenge": replace(REDEEMED, challenge=replace(REDEEMED.challenge, host_id=""))},
        {"challenge": replace(REDEEMED, challenge=replace(REDEEMED.challenge, ak_name=b""))},
        {"challenge": replace(REDEEMED, age=3600.0)},
        {"challenge": replace(REDEEMED, age=-1.0)},
        {"challenge": replace(REDEEMED, age=float("nan"))},
        {"challenge": replace(REDEEMED, challenge=replace(REDEEMED.challenge, max_age=-1.0))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_absent_or_other_knowledge(changes):
    _untrusted(TEXT, **changes)


def test_no_finding_that_holds_the_proof_together_is_mild():
    for code, kind in FINDING_KINDS.items():
        if not kind.adjustable and code != "EK_FIRST_USE":  # whether it is allowed is another finding
            assert kind.severity is Severity.FAILED, code
        assert isinstance(kind.category, Category)


@pytest.mark.parametrize("code", sorted(FINDING_KINDS))
def test_every_failed_finding_makes_a_host_untrusted(code):
    assert state_of((finding(code, Severity.FAILED),)) is not State.TRUSTED


@pytest.mark.parametrize("code", sorted(FINDING_KINDS))
def test_no_policy_can_make_a_wrong_signature_trusted(code):
    """Whatever severities a policy has, also those that its loader would refuse."""
    severities = dict.fromkeys(FINDING_KINDS, Severity.INFO)
    policy = make_policy(severities=severities, asset_tag=TagRule.IGNORED, replay=Replay.IGNORED)
    _untrusted(HOST.text(NONCE, key=make_key()), policy=policy)
    _untrusted(HOST.text(NONCE, attest={"extra_data": bytes(32)}), policy=policy)
    _untrusted(TEXT, policy=policy, references=[])
    assert code in severities


def test_a_result_cannot_be_made_trusted_by_leaving_things_out():
    proven = _appraise(TEXT).result
    for missing in ({"clock": None}, {"references": ()}):
        with pytest.raises(AssertionError):
            replace(proven, **missing)
    unmatched = tuple(replace(used, matched=False) for used in proven.references)
    with pytest.raises(AssertionError):
        replace(proven, references=unmatched)
    assert {field.name for field in fields(AttestationResult)} >= {"findings", "clock", "references"}


def test_text_that_is_refused_raises_only_formaterror_below():
    with pytest.raises(FormatError):
        QuoteEvidence.from_json(TEXT[:-1])
