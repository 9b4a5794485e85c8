"""The arguments of the plugin's functions: all that is wrong with them is found before the TPM is touched.

The dom0 here has no TPM, so an accepted argument ends in XENTPM_NO_TPM.
"""

import base64

import pytest

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host import functions


@pytest.fixture
def refusal(bare_dom0):
    host = bare_dom0.host()

    def call(function, **arguments):
        with pytest.raises(XenTpmError) as caught:
            function(host, arguments)
        return caught.value

    return call


def _b64(size, byte=b"\xa5"):
    return base64.b64encode(byte * size).decode("ascii")


NONCE = _b64(32)
SEEN_NONE = "expected 16 to 64 bytes"

BAD_NONCES = [
    ("", SEEN_NONE),
    (_b64(1), SEEN_NONE),
    (_b64(15), SEEN_NONE),
    (_b64(65), SEEN_NONE),
    (_b64(67), SEEN_NONE),
    (_b64(4096), SEEN_NONE),
    ("not base64 at all!", "white space"),
    (NONCE + "\n", "white space"),
    ("\n" + NONCE, "white space"),
    (NONCE[:8] + "\r\n" + NONCE[8:], "white space"),
    (NONCE[:8] + " " + NONCE[8:], "white space"),
    (NONCE[:8] + "!" + NONCE[9:], "outside the base64 alphabet"),
    (NONCE[:8] + "-_" + NONCE[10:], "outside the base64 alphabet"),
    (NONCE[:8] + "=" + NONCE[9:], "outside the base64 alphabet"),
    ("ä" + NONCE[1:], "outside the base64 alphabet"),
    ("\udcc3" + NONCE[1:], "outside the base64 alphabet"),
    ("Ａ" * 44, "outside the base64 alphabet"),
    (NONCE.rstrip("="), "incomplete"),
    (NONCE[:-1], "incomplete"),
    (NONCE + "=", "incomplete"),
    (NONCE + "====", "not padded canonically"),
    (NONCE[:-2] + "V=", "not padded canonically"),  # the unused two bits are not zero
    (_b64(31)[:-3] + "V==", "not padded canonically"),  # the unused four bits are not zero
    ("=" * 44, "not padded canonically"),
]


@pytest.mark.parametrize("nonce, told", BAD_NONCES)
def test_bad_nonce(refusal, nonce, told):
    error = refusal(functions.get_quote, nonce=nonce)
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith("nonce: ")
    assert told in error.message
    assert error.hint
    assert len(nonce) < 8 or nonce not in error.message


@pytest.mark.parametrize("size", [16, 17, 18, 20, 32, 63, 64])
def test_good_nonce(refusal, size):
    assert refusal(functions.get_quote, nonce=_b64(size)).code == "XENTPM_NO_TPM"


@pytest.mark.parametrize(
    "function, arguments, told",
    [
        (functions.get_quote, {}, "argument nonce is missing"),
        (functions.get_quote, {"pcrs": "sha256:0"}, "argument nonce is missing"),
        (functions.get_quote, {"Nonce": NONCE}, "unknown argument 'Nonce'"),
        (functions.get_quote, {"nonce": NONCE, "": ""}, "unknown argument ''"),
        (functions.get_quote, {"nonce": NONCE, "challenge": ""}, "unknown argument 'challenge'"),
        (functions.get_quote, {"nonce": NONCE, "x" * 500: ""}, "unknown argument 'xxx"),
        (functions.get_quote, {"nonce": NONCE, "ä\n": ""}, "unknown argument '\\xe4\\n'"),
        (functions.get_identity, {"nonce": NONCE}, "unknown argument 'nonce'"),
        (functions.clear_asset_tag, {"tag": ""}, "unknown argument 'tag'"),
        (functions.get_asset_tag, {"tag": ""}, "unknown argument 'tag'"),
        (functions.get_status, {"verbose": "1"}, "unknown argument 'verbose'"),
        (functions.set_asset_tag, {}, "argument tag is missing"),
        (functions.set_asset_tag, {"tag_sha1": "0" * 40}, "unknown argument 'tag_sha1'"),
        (functions.answer_challenge, {}, "argument challenge is missing"),
        (functions.answer_challenge, {"challenge": NONCE, "nonce": NONCE}, "unknown argument 'nonce'"),
    ],
)
def test_unknown_and_missing_arguments(refusal, function, arguments, told):
    error = refusal(function, **arguments)
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith(told)
    assert len(error.message) < 120
    assert error.hint.startswith("Arguments: ")


@pytest.mark.parametrize(
    "pcrs, told",
    [
        ("", "is no hash algorithm"),
        ("sha256", "no registers given"),
        ("sha256:", "no registers given"),
        (":0", "is no hash algorithm"),
        ("+", "is no hash algorithm"),
        ("sha256:0+", "is no hash algorithm"),
        ("sha256:0,", "'' is no register"),
        ("sha256:,0", "'' is no register"),
        ("sha256:24", "'24' is no register, expected 0 to 23"),
        ("sha256:-1", "is no register"),
        ("sha256:00", "is no register"),
        ("sha256:0x1", "is no register"),
        ("sha256:1.0", "is no register"),
        ("sha256:0-7", "is no register"),
        ("sha256:0 ,1", "is no register"),
        (" sha256:0", "is no hash algorithm"),
        ("sha256:0\n", "is no register"),
        ("SHA256:0", "is no hash algorithm"),
        ("md5:0", "is no hash algorithm"),
        ("0xb:0", "is no hash algorithm"),
        ("sha256:0,0", "a register is given twice"),
        ("sha256:0+sha256:1", "the bank is given twice"),
        ("sha256:all,0", "is no register"),
        ("sha256:ALL", "is no register"),
        ("sha256:٣", "is no register"),
        ("sha256:" + "0," * 1000, "longer than 1024 characters"),
        ("sha1:0", "sha1 alone is not enough"),
        ("sha1:all", "sha1 alone is not enough"),
    ],
)
def test_bad_pcrs(refusal, pcrs, told):
    error = refusal(functions.get_quote, nonce=NONCE, pcrs=pcrs)
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith("pcrs")
    assert told in error.message
    assert "sha256:0,1,2+sha384:all" in error.hint


@pytest.mark.parametrize(
    "pcrs", ["sha256:0", "sha256:all", "sha1:0+sha256:23", "sha384:0,1+sha1:all", "sha512:7"]
)
def test_good_pcrs(refusal, pcrs):
    assert refusal(functions.get_quote, nonce=NONCE, pcrs=pcrs).code == "XENTPM_NO_TPM"


@pytest.mark.parametrize("word", ["", "yes", "True", "TRUE", "1", "false ", "\u0442rue", "x" * 500])
def test_bad_event_log(refusal, word):
    error = refusal(functions.get_quote, nonce=NONCE, event_log=word)
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith("event_log: expected true or false")
    assert len(error.message) < 250


@pytest.mark.parametrize("word", ["true", "false"])
def test_good_event_log(refusal, word):
    assert refusal(functions.get_quote, nonce=NONCE, event_log=word).code == "XENTPM_NO_TPM"


def _credential(magic="badcc0de", version="00000001", id_object=b"i" * 52, secret=b"s" * 256, more=b""):
    sized = [len(part).to_bytes(2, "big") + part for part in (id_object, secret)]
    return bytes.fromhex(magic + version) + b"".join(sized) + more


GOOD_CREDENTIAL = _credential()


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        GOOD_CREDENTIAL[:4],
        GOOD_CREDENTIAL[:8],
        GOOD_CREDENTIAL[:9],
        GOOD_CREDENTIAL[:60],
        GOOD_CREDENTIAL[:-1],
        GOOD_CREDENTIAL[8:],
        _credential(more=b"\0"),
        _credential(magic="badcc0df"),
        _credential(magic="dec0ccba"),
        _credential(version="00000002"),
        _credential(version="00000000"),
        _credential(version="01000000"),
        _credential(id_object=b""),
        _credential(secret=b""),
        _credential(secret=b"s" * 700),
        _credential(id_object=b"i" * 400),
    ],
)
def test_bad_challenge(refusal, data):
    error = refusal(functions.answer_challenge, challenge=base64.b64encode(data).decode("ascii"))
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith("challenge: ")
    assert error.hint


@pytest.mark.parametrize(
    "text", ["", "!", "====", _b64(1025), _b64(100000), base64.b64encode(GOOD_CREDENTIAL).decode() + "\n"]
)
def test_challenge_that_is_not_base64(refusal, text):
    error = refusal(functions.answer_challenge, challenge=text)
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith("challenge: ")
    assert len(error.message) < 200


def test_good_challenge(refusal):
    text = base64.b64encode(GOOD_CREDENTIAL).decode("ascii")
    assert refusal(functions.answer_challenge, challenge=text).code == "XENTPM_NO_TPM"


@pytest.mark.parametrize(
    "tag, told",
    [
        ("", "expected 1 to 64 bytes, got 0"),
        ("a5" * 19, ""),
        ("a5" * 21, ""),
        ("a5" * 33, ""),
        ("a5" * 47, ""),
        ("a5" * 49, ""),
        ("a" * 39, ""),
        ("a" * 41, ""),
        ("a5" * 20 + "\n", ""),
        (" " + "a5" * 20, ""),
        ("0x" + "a5" * 20, ""),
        ("a5" * 19 + "g!", "outside the base64 alphabet"),
        ("<tag_sha1>", "outside the base64 alphabet"),
        (_b64(19), "expected 20, 32 or 48 bytes, got 19"),
        (_b64(21), "expected 20, 32 or 48 bytes, got 21"),
        (_b64(33), "expected 20, 32 or 48 bytes, got 33"),
        (_b64(47), "expected 20, 32 or 48 bytes, got 47"),
        (_b64(64), "expected 20, 32 or 48 bytes, got 64"),
        (_b64(20)[:-1], "incomplete"),
        (_b64(20)[:-2] + "V=", "not padded canonically"),
        (_b64(20) + "\n", "white space"),
        ("00" * 20, "all zeros"),
        ("00" * 32, "all zeros"),
        ("00" * 48, "all zeros"),
        (_b64(20, b"\0"), "all zeros"),
        (_b64(32, b"\0"), "all zeros"),
        ("ä" * 40, "outside the base64 alphabet"),
        ("x" * 100000, "got 100000 characters"),
    ],
)
def test_bad_tag(refusal, tag, told):
    error = refusal(functions.set_asset_tag, tag=tag)
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith("tag: ")
    assert told in error.message
    assert error.hint
    assert len(error.message) < 200
    assert len(tag) < 8 or tag not in error.message


@pytest.mark.parametrize(
    "tag, size",
    [
        ("a5" * 20, 20),
        ("A5" * 20, 20),
        ("a5" * 32, 32),
        ("aA" * 32, 32),
        ("a5" * 48, 48),
        (_b64(20), 20),
        (_b64(32), 32),
        (_b64(48), 48),
        ("z" * 64, 48),  # 64 characters that are not all hex digits
        ("0" * 63 + "1", 32),
    ],
)
def test_good_tag(refusal, monkeypatch, tag, size):
    sizes = []
    decode = functions._tag
    monkeypatch.setattr(functions, "_tag", lambda text: sizes.append(len(decode(text))))
    assert refusal(functions.set_asset_tag, tag=tag).code == "XENTPM_NO_TPM"
    assert sizes == [size]


def test_64_hex_digits_are_hex_though_they_are_base64_of_48_bytes_too():
    assert functions._tag("ab" * 32) == b"\xab" * 32
    assert len(base64.b64decode("ab" * 32)) == 48


def test_an_event_log_that_is_too_large_is_no_reason_for_no_quote(refusal, bare_dom0):
    path = "sys/kernel/security/tpm0/binary_bios_measurements"
    with open(bare_dom0.paths.at(path), "wb") as file:
        file.truncate((2 << 20) + 1)
    assert functions._event_log(bare_dom0.host()) is None
    assert refusal(functions.get_quote, nonce=NONCE).code == "XENTPM_NO_TPM"
    assert refusal(functions.get_quote, nonce=NONCE, event_log="false").code == "XENTPM_NO_TPM"
