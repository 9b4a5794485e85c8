"""The station's keys on a real file system."""

import os
import pickle
import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.keys import StationKeys

PURPOSES = ("ledger_key", "result_key", "credential_key", "evidence_key")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def derived(keys):
    return [getattr(keys, purpose) for purpose in PURPOSES]


def pem_of(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_keys_are_made_once(tmp_path):
    directory = tmp_path / "home" / "keys"
    keys = StationKeys.open(directory, create=True)
    assert mode(directory) == 0o700
    assert mode(directory / "master.key") == 0o600
    assert [len(key) for key in derived(keys)] == [32] * 4
    assert len(set(derived(keys))) == 4
    for again in (StationKeys.open(str(directory)), StationKeys.open(directory, create=True)):
        assert derived(again) == derived(keys)


def test_another_station_has_other_keys(tmp_path):
    one, other = (StationKeys.open(tmp_path / name, create=True) for name in "ab")
    assert not set(derived(one)) & set(derived(other))


def test_derivation_never_changes(tmp_path):
    """A store of today has to be readable tomorrow. The values are from openssl kdf, not from this code."""
    (tmp_path / "k").mkdir(mode=0o700)
    (tmp_path / "k" / "master.key").write_text("00" * 32 + "\n")
    (tmp_path / "k" / "master.key").chmod(0o600)
    command = [
        "openssl",
        "kdf",
        "-keylen",
        "32",
        "-kdfopt",
        "digest:SHA256",
        "-kdfopt",
        "hexkey:" + "00" * 32,
    ]
    out = subprocess.check_output(
        command + ["-kdfopt", "info:xentpm station key 1: ledger", "HKDF"], text=True
    )
    assert StationKeys.open(tmp_path / "k").ledger_key.hex(":").upper() == out.strip()


def test_the_signing_key_is_made_at_first_use(tmp_path):
    keys = StationKeys.open(tmp_path / "k", create=True)
    path = tmp_path / "k" / "signing.pem"
    assert not path.exists()
    key = keys.signing_key
    assert isinstance(key.curve, ec.SECP256R1)
    assert mode(path) == 0o600
    assert StationKeys.open(tmp_path / "k").signing_key.private_numbers() == key.private_numbers()
    assert sorted(os.listdir(tmp_path / "k")) == ["master.key", "signing.pem"]


def test_nothing_is_made_unless_asked(tmp_path):
    with pytest.raises(StoreError, match="cannot be used") as caught:
        StationKeys.open(tmp_path / "k")
    assert caught.value.code == "XENTPM_KEYS"
    assert "Restore the keys directory" in caught.value.hint
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("name", ["", "master.key", "signing.pem"])
@pytest.mark.parametrize("bits", [0o040, 0o004, 0o020, 0o001])
def test_what_others_can_read_is_refused(tmp_path, name, bits):
    StationKeys.open(tmp_path / "k", create=True).signing_key  # noqa: B018
    path = tmp_path / "k" / name
    path.chmod(mode(path) | bits)
    with pytest.raises(StoreError, match="open to others"):
        StationKeys.open(tmp_path / "k", create=True).signing_key  # noqa: B018


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["", "master.key"])
def test_what_belongs_to_another_user_is_refused(tmp_path, name):
    StationKeys.open(tmp_path / "k", create=True)
    os.chown(tmp_path / "k" / name, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to user 12345") as caught:
        StationKeys.open(tmp_path / "k")
    assert "user" in caught.value.hint


def test_a_link_is_refused(tmp_path):
    StationKeys.open(tmp_path / "k", create=True)
    (tmp_path / "k" / "master.key").rename(tmp_path / "elsewhere")
    (tmp_path / "k" / "master.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be used"):
        StationKeys.open(tmp_path / "k", create=True)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64, b"0" * 5000]
)
def test_a_damaged_master_key_is_refused_and_kept(tmp_path, content):
    StationKeys.open(tmp_path / "k", create=True)
    (tmp_path / "k" / "master.key").write_bytes(content)
    with pytest.raises(StoreError, match="64 hex digits") as caught:
        StationKeys.open(tmp_path / "k", create=True)
    assert "backup" in caught.value.hint
    assert (tmp_path / "k" / "master.key").read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        pem_of(rsa.generate_private_key(65537, 2048)),
        pem_of(ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["empty", "junk", "rsa", "p384"],
)
def test_another_signing_key_is_refused(tmp_path, content):
    keys = StationKeys.open(tmp_path / "k", create=True)
    path = tmp_path / "k" / "signing.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StoreError) as caught:
        keys.signing_key  # noqa: B018
    assert caught.value.code == "XENTPM_KEYS"


def test_what_a_killed_process_left_is_made_anew(tmp_path):
    (tmp_path / "k").mkdir(mode=0o700)
    (tmp_path / "k" / "master.key.new").write_bytes(b"half")
    StationKeys.open(tmp_path / "k", create=True)
    assert os.listdir(tmp_path / "k") == ["master.key"]


def test_a_file_in_place_of_the_directory(tmp_path):
    (tmp_path / "k").write_text("")
    for create in (False, True):
        with pytest.raises(StoreError):
            StationKeys.open(tmp_path / "k", create=create)


def test_a_device_in_place_of_a_key(tmp_path):
    (tmp_path / "k").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "k" / "master.key", 0o600)
    with pytest.raises(StoreError, match="not a file"):
        StationKeys.open(tmp_path / "k")


def test_processes_that_start_at_once_have_the_same_keys(tmp_path):
    program = (
        "import sys; from xentpm_lib.verifier.keys import StationKeys as K; sys.stdin.readline();"
        "k = K.open(sys.argv[1], create=True); "
        "print(k.ledger_key.hex(), k.signing_key.private_numbers().private_value)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "k")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = {process.communicate(timeout=110)[0] for process in processes}
    assert len(outputs) == 1
    assert outputs.pop().strip()
    assert sorted(os.listdir(tmp_path / "k")) == ["master.key", "signing.pem"]


def test_keys_are_not_told(tmp_path):
    keys = StationKeys.open(tmp_path / "k", create=True)
    assert keys.ledger_key.hex() not in repr(keys)
    assert (tmp_path / "k" / "master.key").read_text().strip() not in repr(keys)
    with pytest.raises(TypeError):
        pickle.dumps(keys)
