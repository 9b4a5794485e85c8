"""The configuration file: every rule, and no password in any message."""

import os

import pytest

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.config import MAXIMUM_BYTES, TAG_PCRS, load_config, parse_config

DIGITS = "8f3a6c1de2b9475066aa17c0d4e8f9b2135c7d90"
GOOD = "password={}\n".format(DIGITS)


def _leaks(text):
    """Whether eight or more of the password's digits, one after the other, are in ``text``."""
    return any(DIGITS[at : at + 8] in text.lower() for at in range(len(DIGITS) - 7))


def _refusal(text):
    data = text if isinstance(text, bytes) else text.encode("utf-8")
    with pytest.raises(XenTpmError) as caught:
        parse_config(data)
    error = caught.value
    assert error.code == "XENTPM_CONFIG"
    assert error.hint
    assert not _leaks(error.message + error.hint + repr(error))
    return error


def test_defaults():
    config = parse_config(GOOD.encode())
    assert config.owner_auth == bytes.fromhex(DIGITS)
    assert config[1:] == ("device:/dev/tpmrm0", "ecc", 15, 60, ())


def test_every_key():
    config = parse_config(
        (GOOD + "tcti=swtpm:port=1\nak_algorithm=rsa\nasset_tag_pcr=none\nlock_timeout_s=3600").encode()
    )
    assert config[1:] == ("swtpm:port=1", "rsa", None, 3600, ())


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n\n   # another\n" + GOOD,
        "  PassWord \t=  {}  \n".format(DIGITS),
        "password={}".format(DIGITS.upper()),
        "password={}\r\n# dos\r\n".format(DIGITS),
        "password={}\n\n\n".format(DIGITS),
        "password={}\n#password=1\n".format(DIGITS),
        "# grüße\npassword={}\n".format(DIGITS),
    ],
)
def test_accepted_spelling(text):
    assert parse_config(text.encode("utf-8")).owner_auth == bytes.fromhex(DIGITS)


@pytest.mark.parametrize("index", TAG_PCRS)
def test_tag_pcrs(index):
    assert parse_config("{}asset_tag_pcr={}".format(GOOD, index).encode()).asset_tag_pcr == index


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "XenServer could not read config key from config file"),
        ("# only a comment\n", "no line password="),
        ("tcti=device:/dev/tpm0\n", "no line password="),
        ("password=\n", "line 1: password: expected 40 hex digits, got 0 characters"),
        ("\npassword={}\n".format(DIGITS[:-1]), "line 2: password: expected 40 hex digits, got 39"),
        ("password={}0\n".format(DIGITS), "got 41"),
        ("password={}x\n".format(DIGITS[:-1]), "got 40 characters that are not all hex digits"),
        ("password={} # mine\n".format(DIGITS), "password: expected 40 hex digits"),
        ("password='{}'\n".format(DIGITS), "password: expected 40 hex digits, got 42"),
        ("password=0x{}\n".format(DIGITS[2:]), "not all hex digits"),
        ("password={}\n".format("0" * 40), "forty zeros are no password"),
        ("password={}\n".format("٣" * 40), "not all hex digits"),
        (GOOD + GOOD, "line 2: password was given on line 1 already"),
        (GOOD + "PASSWORD ={}\n".format(DIGITS), "line 2: password was given on line 1 already"),
        (GOOD + "tcti=a\nTCTI=a\n", "line 3: tcti was given on line 2 already"),
        (GOOD + "colour=red\n", "line 2: there is no key 'colour'"),
        (GOOD + "=1\n", "line 2: there is no key ''"),
        (GOOD + "junk\n", "line 2 is neither key=value nor a comment"),
        ("password {}\n".format(DIGITS), "line 1 is neither key=value nor a comment"),
        ("password: {}\n".format(DIGITS), "line 1 is neither key=value nor a comment"),
        ("\ufeff" + GOOD, "line 1"),
        (GOOD + "\x00\x01\n", "line 2 is neither"),
        (b"password=\xff\xfe\n", "is not UTF-8 text (byte 9)"),
        (GOOD.encode("utf-16"), "is not UTF-8"),
        (b"#" * (MAXIMUM_BYTES + 1), "more than 65536 bytes"),
        (GOOD + "tcti=\n", "line 2: tcti: expected a TCTI such as device:/dev/tpmrm0"),
        (GOOD + "tcti=:x\n", "tcti"),
        (GOOD + "tcti=a\x07b\n", "tcti"),
        (GOOD + "ak_algorithm=dsa\n", "line 2: ak_algorithm: expected ecc or rsa, got 'dsa'"),
        (GOOD + "ak_algorithm=\n", "ak_algorithm"),
        (GOOD + "asset_tag_pcr=0\n", "line 2: asset_tag_pcr: expected none or one of 11, 12"),
        (GOOD + "asset_tag_pcr=16\n", "asset_tag_pcr"),
        (GOOD + "asset_tag_pcr=015\n", "asset_tag_pcr"),
        (GOOD + "asset_tag_pcr=+15\n", "asset_tag_pcr"),
        (GOOD + "asset_tag_pcr=\n", "asset_tag_pcr"),
        (GOOD + "lock_timeout_s=0\n", "line 2: lock_timeout_s: expected 1 to 3600 seconds, got '0'"),
        (GOOD + "lock_timeout_s=3601\n", "lock_timeout_s"),
        (GOOD + "lock_timeout_s=-1\n", "lock_timeout_s"),
        (GOOD + "lock_timeout_s=1.5\n", "lock_timeout_s"),
        (GOOD + "lock_timeout_s=soon\n", "lock_timeout_s"),
        (GOOD + "lock_timeout_s=\n", "lock_timeout_s"),
        (GOOD + "lock_timeout_s={}\n".format("9" * 5000), "lock_timeout_s"),
        (GOOD + "lock_timeout_s=²\n", "lock_timeout_s"),
        (GOOD + "lock_timeout_s=000000001999999\n", "lock_timeout_s"),
    ],
)
def test_refused(text, told):
    assert told in _refusal(text).message


@pytest.mark.parametrize("text", ["", "password=1", "password={}".format("0" * 40)])
def test_a_wrong_password_says_how_to_make_one(text):
    assert "echo -n <password> | sha1sum" in _refusal(text).hint


@pytest.mark.parametrize(
    "text",
    [
        "{}=password\n".format(DIGITS),
        "password {} =\n".format(DIGITS),
        "password:{}=\n".format(DIGITS),
        "xenroot{}=1\n".format(DIGITS),
        GOOD + "ak_algorithm={}\n".format(DIGITS),
        GOOD + "asset_tag_pcr={}\n".format(DIGITS),
        GOOD + "lock_timeout_s={}\n".format(DIGITS),
    ],
)
def test_digits_in_the_wrong_place_are_not_told(text):
    _refusal(text)


def test_the_record_does_not_show_its_password():
    config = parse_config(GOOD.encode())
    for text in (repr(config), str(config), "{}".format(config), repr([config])):
        assert not _leaks(text)
        assert repr(config.owner_auth) not in text


# The file itself


def _file(tmp_path, mode, text=GOOD):
    path = tmp_path / "config"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_private_modes(tmp_path, mode):
    assert load_config(_file(tmp_path, mode)).warnings == ()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_read_is_a_warning(tmp_path, mode):
    (warning,) = load_config(_file(tmp_path, mode)).warnings
    assert "can be read by others (mode {:04o})".format(mode) in warning
    assert "chmod 0600" in warning
    assert not _leaks(warning)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o622, 0o660])
def test_a_file_that_others_write_is_refused(tmp_path, mode):
    with pytest.raises(XenTpmError) as caught:
        load_config(_file(tmp_path, mode))
    assert caught.value.code == "XENTPM_CONFIG"
    assert "can be written by others (mode {:04o})".format(mode) in caught.value.message
    assert "chmod 0600" in caught.value.hint


def _directory(path):
    os.mkdir(path)


def _loop(path):
    os.symlink(path, path)


@pytest.mark.parametrize("make", [lambda path: None, _directory, _loop], ids=["absent", "directory", "loop"])
def test_a_file_that_cannot_be_read(tmp_path, make):
    path = str(tmp_path / "config")
    make(path)
    with pytest.raises(XenTpmError) as caught:
        load_config(path)
    assert caught.value.code == "XENTPM_CONFIG"
    assert "XenServer could not read configuration file {}".format(path) in caught.value.message


def test_a_huge_file_is_not_read_whole(tmp_path):
    path = _file(tmp_path, 0o600)
    os.truncate(path, 1 << 40)  # sparse
    with pytest.raises(XenTpmError) as caught:
        load_config(path)
    assert "more than 65536 bytes" in caught.value.message
