"""evidence/credential_file.py: tpm2-tools' file."""

import pytest

from xentpm_lib.evidence.credential_file import MAX_CREDENTIAL_SIZE, Credential

SMALL = Credential(b"id", b"secret")


@pytest.mark.parametrize("kind, secret_size", [("ecc", 68), ("rsa", 256)])
def test_a_file_of_tpm2_makecredential(vectors, kind, secret_size):
    data = (vectors / "swtpm" / kind / "credential").read_bytes()
    credential = Credential.from_bytes(data)
    assert credential.to_bytes() == data
    assert len(credential.encrypted_secret) == secret_size


def test_the_largest_fits():
    largest = Credential(bytes(132), bytes(512))
    assert len(largest.to_bytes()) == MAX_CREDENTIAL_SIZE
    assert Credential.from_bytes(largest.to_bytes()) == largest


@pytest.mark.parametrize(
    "data, where, fragment",
    [
        ("", "offset 0", "credential file: 4 bytes wanted"),
        ("badcc0dd00000001", "offset 0", "magic 0xbadcc0dd, expected 0xbadcc0de"),
        ("dec0dcba00000001", "offset 0", "magic 0xdec0dcba"),
        ("badcc0de00000002", "offset 4", "version 0x00000002, expected 0x00000001"),
        ("badcc0de000000010000", "offset 8", "size 0, expected 1 to 132"),
        ("badcc0de000000010085", "offset 8", "size 133, expected 1 to 132"),
        ("badcc0de00000001000261", "offset 10", "2 bytes wanted, 1 left"),
        ("badcc0de000000010001610000", "offset 11", "size 0, expected 1 to 512"),
        ("badcc0de000000010001610201", "offset 11", "size 513, expected 1 to 512"),
        ("badcc0de0000000100016100016200", "offset 14", "1 trailing bytes"),
    ],
)
def test_refusals(refuses, data, where, fragment):
    refuses(where, fragment, Credential.from_bytes, bytes.fromhex(data))


@pytest.mark.parametrize("credential", [Credential(b"", b"s"), Credential(b"i", bytes(513))])
def test_building_what_cannot_be(refuses, credential):
    refuses("", "expected 1 to", credential.to_bytes)
