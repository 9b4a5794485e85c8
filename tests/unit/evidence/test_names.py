"""evidence/names.py: Names and qualified Names."""

import hashlib

import pytest

from xentpm_lib.evidence.names import (
    ENDORSEMENT_HIERARCHY,
    check_name,
    check_policy,
    entity_name,
    name_algorithm,
    qualified_name,
)

NAME = b"\0\x0b" + bytes(32)


def test_names():
    assert entity_name("sha256", b"area") == b"\0\x0b" + hashlib.sha256(b"area").digest()
    assert name_algorithm(NAME) == "sha256"
    assert check_name(NAME) is NAME


def test_qualified_name_of_a_primary(vectors):
    for kind in ("ecc", "rsa"):
        name = (vectors / "swtpm" / kind / "ak.name").read_bytes()
        expected = (vectors / "swtpm" / kind / "ak.qualified_name").read_bytes()
        assert qualified_name(ENDORSEMENT_HIERARCHY, name) == expected


@pytest.mark.parametrize(
    "name, fragment",
    [
        (b"", "0x0000 is no hash"),
        (b"\x0b", "has 34 bytes, got 1"),
        (b"\x40\0\0\1", "0x4000 is no hash"),
        (NAME[:-1], "a Name with sha256 has 34 bytes, got 33"),
        (NAME + b"\0", "got 35"),
    ],
)
def test_what_is_no_name(refuses, name, fragment):
    refuses("signer", fragment, check_name, name, "signer")


def test_policy(refuses):
    check_policy(b"", "sha256")
    check_policy(bytes(32), "sha256")
    refuses("auth_policy", "expected 0 or 32 bytes, got 20", check_policy, bytes(20), "sha256")
    refuses("name_alg", "no hash algorithm", check_policy, b"", "md5")
