"""evidence/nv_public.py: the public area of an NV index."""

import pytest

from xentpm_lib.evidence.nv_public import MAX_NV_PUBLIC_SIZE, NvPublic
from xentpm_lib.evidence.tpm_structures import NV_AUTHREAD, NV_NO_DA, NV_OWNERREAD, NV_OWNERWRITE, NV_WRITTEN

TAG = NvPublic(0x01C10110, "sha256", NV_OWNERWRITE | NV_OWNERREAD | NV_AUTHREAD | NV_NO_DA | NV_WRITTEN, 20)


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_tpms_index(vectors, kind):
    data = (vectors / "swtpm" / kind / "nv.public").read_bytes()
    assert NvPublic.from_tpm2b(data) == TAG
    assert TAG.to_tpm2b() == data
    assert TAG.name() == (vectors / "swtpm" / kind / "nv.name").read_bytes()
    assert TAG.attribute_names() == ("OWNERWRITE", "OWNERREAD", "AUTHREAD", "NO_DA", "WRITTEN")


def test_the_largest_fits():
    largest = TAG._replace(name_alg="sha512", auth_policy=bytes(64))
    assert len(largest.to_tpm2b()) == MAX_NV_PUBLIC_SIZE
    assert NvPublic.from_tpm2b(largest.to_tpm2b()) == largest


@pytest.mark.parametrize(
    "data, where, fragment",
    [
        ("", "offset 0", "2 bytes wanted"),
        ("0000", "offset 0", "TPMS_NV_PUBLIC: 4 bytes wanted"),
        ("004f" + "00" * 79, "offset 0", "size 79, expected 0 to 78"),
        ("000e01c10110000b220600020000001400", "offset 16", "1 trailing bytes"),
        ("000f01c10110000b220600020000001400", "offset 14", "TPMS_NV_PUBLIC: 1 trailing bytes"),
        ("000e81c10110000b2206000200000014", "index", "0x81c10110 is no NV index"),
        ("000e01c101100010220600020000001400"[:32], "offset 4", "0x0010 is no hash"),
        ("000e01c10110000b2206010200000014", "attributes", "reserved bits 0x100"),
        ("000f01c10110000b2206000200014100" + "14", "auth_policy", "expected 0 or 32 bytes, got 1"),
    ],
)
def test_refusals(refuses, data, where, fragment):
    refuses(where, fragment, NvPublic.from_tpm2b, bytes.fromhex(data))


@pytest.mark.parametrize(
    "public, where, fragment",
    [
        (TAG._replace(index=0x40000001), "index", "no NV index"),
        (TAG._replace(attributes=1 << 8), "attributes", "reserved"),
        (TAG._replace(name_alg="md5"), "name_alg", "no hash algorithm"),
        (TAG._replace(auth_policy=b"x"), "auth_policy", "got 1"),
        (TAG._replace(data_size=1 << 16), "", "does not fit into 2"),
    ],
)
def test_building_what_cannot_be(refuses, public, where, fragment):
    refuses(where, fragment, public.to_tpm2b)
    refuses(where, fragment, public.name)
