"""Results as JSON: what is written is read back, and nothing else is."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.examples import examples
from xentpm_lib.errors import FormatError
from xentpm_lib.verifier.findings import FINDING_KINDS, Severity, finding
from xentpm_lib.verifier.result import (
    AttestationResult,
    PolicyUsed,
    ReferenceUsed,
    State,
    TpmClock,
    Verdict,
)
from xentpm_lib.verifier.result_json import (
    result_from_json,
    result_from_object,
    result_to_json,
    result_to_object,
)

CLOCK = TpmClock(2**64 - 1, 2**32 - 1, 0, True, 0x0123456789ABCDEF)
TRUSTED = AttestationResult(
    host_id="2c6f1a52-6b0e-4d5c-9b0a-6f2a5d3c9e01",
    host_name="xen-07 ü 🦊",
    pool_id="7d8b7e2c-0000-4000-8000-000000000001",
    findings=(finding("HOST_REBOOTED"), finding("EK_FIRST_USE", detail="line\nbreak \x1b[31m")),
    appraised_at=1769903999.25,
    expires_at=1769904899.25,
    policy=PolicyUsed("uefi-grub", "ab" * 32),
    references=(ReferenceUsed("id-1", "8.3 March", True), ReferenceUsed("id-2", "8.3 May", False)),
    clock=CLOCK,
    ek_trust="first_use",
    evidence_digest="cd" * 32,
)
CHANGED = AttestationResult(
    host_id="h",
    host_name="",
    pool_id="p",
    findings=(
        finding("PCR_CHANGED", expected="00", actual="11", where="sha256:9", component="dom0 initrd"),
        finding("CLOCK_UNSAFE", Severity.FAILED),
    ),
    appraised_at=0.0,
    expires_at=0.5,
    policy=PolicyUsed("txt", ""),
)


def written(result):
    return json.loads(result_to_json(result))


@pytest.mark.parametrize("result", [TRUSTED, CHANGED])
def test_round_trip(result):
    again = result_from_json(result_to_json(result))
    assert again == result
    assert again.verdict is result.verdict
    assert result_to_json(again) == result_to_json(result)
    assert result_from_object(result_to_object(result)) == result


def test_what_programs_read():
    document = written(CHANGED)
    assert document["verdict"] == "untrusted"
    assert document["state"] == "untrusted-evidence"
    assert document["appraised_at"] == "1970-01-01T00:00:00.000Z"
    assert document["findings"][0] == {
        "code": "PCR_CHANGED",
        "severity": "failed",
        "category": "measurement",
        "title": "A measurement is not the expected one",
        "expected": "00",
        "actual": "11",
        "where": "sha256:9",
        "component": "dom0 initrd",
        "detail": "",
        "advice": FINDING_KINDS["PCR_CHANGED"].advice,
    }
    assert written(TRUSTED)["clock"]["clock_ms"] == "18446744073709551615"
    assert written(TRUSTED)["clock"]["firmware_version"] == "0123456789abcdef"
    assert result_to_json(TRUSTED).isascii()


@pytest.mark.parametrize("code", sorted(FINDING_KINDS))
def test_every_code(code):
    fields = {"references": (ReferenceUsed("r", "", True),), "clock": CLOCK}
    result = AttestationResult("h", "n", "p", (finding(code),), 1.0, 2.0, PolicyUsed("a", "b"), **fields)
    assert result_from_json(result_to_json(result)) == result


def changed(path, value):
    """The document of TRUSTED with one value changed; a path's step is a key or an index."""
    document = copy.deepcopy(written(TRUSTED))
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    "path, value, where",
    [
        (["version"], 2, "result"),
        (["version"], True, "result"),
        (["version"], "1", "result"),
        (["verdict"], "untrusted", "result.verdict"),
        (["verdict"], "Trusted", "result.verdict"),
        (["verdict"], True, "result.verdict"),
        (["state"], "stale", "result.state"),
        (["appraised_at"], "yesterday", "result.appraised_at"),
        (["expires_at"], 1769904899, "result.expires_at"),
        (["host"], "xen-07", "result.host"),
        (["host", "name"], None, "result.host.name"),
        (["host", "name"], "\ud800", "result.host.name"),
        (["host", "more"], "", "result.host"),
        (["findings"], {}, "result.findings"),
        (["findings", 0], [], "result.findings[0]"),
        (["findings", 1, "code"], "NO_SUCH", "result.findings[1].code"),
        (["findings", 1, "code"], [], "result.findings[1].code"),
        (["findings", 0, "severity"], "fatal", "result.findings[0].severity"),
        (["findings", 1, "category"], "evidence", "result.findings[1].category"),
        (["findings", 1, "title"], 1, "result.findings[1].title"),
        (["findings", 1, "actual"], 1, "result.findings[1].actual"),
        (["references"], [], "result"),
        (["references", 0, "matched"], False, "result"),
        (["references", 0, "matched"], 1, "result.references[0].matched"),
        (["clock"], None, "result"),
        (["clock"], [], "result.clock"),
        (["clock", "clock_ms"], 17, "result.clock.clock_ms"),
        (["clock", "clock_ms"], "017", "result.clock.clock_ms"),
        (["clock", "clock_ms"], "", "result.clock.clock_ms"),
        (["clock", "clock_ms"], "٣", "result.clock.clock_ms"),
        (["clock", "clock_ms"], "18446744073709551616", "result.clock.clock_ms"),
        (["clock", "firmware_version"], "1", "result.clock.firmware_version"),
        (["clock", "firmware_version"], "0123456789ABCDEF", "result.clock.firmware_version"),
        (["clock", "reset_count"], 2**32, "result.clock.reset_count"),
        (["clock", "reset_count"], True, "result.clock.reset_count"),
        (["clock", "safe"], 1, "result.clock.safe"),
        (["ek_trust"], "accept-all", "result.ek_trust"),
        (["evidence_digest"], None, "result.evidence_digest"),
        (["policy"], None, "result.policy"),
    ],
)
def test_one_wrong_value(path, value, where):
    with pytest.raises(FormatError) as caught:
        result_from_json(changed(path, value))
    assert caught.value.where == where


def test_a_missing_member():
    for name in written(TRUSTED):
        document = written(TRUSTED)
        del document[name]
        with pytest.raises(FormatError, match=name):
            result_from_json(json.dumps(document))


@pytest.mark.parametrize("code", ["SIGNATURE_INVALID", "PCR_CHANGED", "RECORD_ALTERED"])
def test_a_weakened_finding_does_not_make_trust(code):
    fields = {"references": (ReferenceUsed("r", "", True),), "clock": CLOCK}
    result = AttestationResult("h", "n", "p", (finding(code),), 1.0, 2.0, PolicyUsed("a", "b"), **fields)
    document = written(result)
    document["findings"][0]["severity"] = "info"
    document["verdict"] = document["state"] = "trusted"
    with pytest.raises(FormatError, match="severity"):
        result_from_json(json.dumps(document))


def test_no_word_makes_an_untrusted_result_trusted():
    document = written(CHANGED)
    document["verdict"], document["state"] = Verdict.TRUSTED.value, State.TRUSTED.value
    with pytest.raises(FormatError, match="verdict"):
        result_from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "null", "[]", "NaN", '{"version":1,"version":1}', "{" * 100, "1" * 100])
def test_other_documents(text):
    with pytest.raises(FormatError):
        result_from_json(text)


@pytest.mark.parametrize("when", [float("nan"), float("inf"), -1.0, 1e15])
def test_a_time_that_cannot_be(when):
    result = AttestationResult("h", "", "p", CHANGED.findings, when, 2.0, PolicyUsed("a", "b"))
    with pytest.raises(FormatError, match="appraised_at"):
        result_to_json(result)


def test_too_long():
    many = (finding("PCR_CHANGED", detail="x" * 1024 * 1024),) * 4
    with pytest.raises(FormatError, match="characters"):
        result_to_json(AttestationResult("h", "", "p", many, 1.0, 2.0, PolicyUsed("a", "b")))


TEXTS = st.text(st.characters(), max_size=20)  # with lone surrogates


@examples()
@given(TEXTS, TEXTS, TEXTS, st.floats(0, 4e9))
def test_any_text_can_be_written(name, actual, detail, when):
    found = (finding("PLUGIN_ERROR", actual=actual, detail=detail),)
    result = AttestationResult("h", name, "p", found, when, when + 900, PolicyUsed("a", "b"))
    text = result_to_json(result)
    assert result_to_json(result_from_json(text)) == text


@examples()
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_any_value_is_refused(value):
    with pytest.raises(FormatError):
        result_from_object(value)
