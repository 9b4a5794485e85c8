"""evidence/attributes.py: bits and their names."""

from xentpm_lib.evidence.attributes import (
    NV_OWNERWRITE,
    NV_WRITTEN,
    check_nv_attributes,
    check_object_attributes,
    nv_attribute_names,
    object_attribute_names,
)


def test_names():
    assert object_attribute_names(0x00050072) == (
        "fixedTPM",
        "fixedParent",
        "sensitiveDataOrigin",
        "userWithAuth",
        "restricted",
        "sign",
    )
    assert nv_attribute_names(NV_OWNERWRITE | NV_WRITTEN) == ("OWNERWRITE", "WRITTEN")


def test_reserved_bits(refuses):
    check_object_attributes(0x000F0FF6)
    check_nv_attributes(0xFE0FFCFF)
    refuses("attributes", "reserved bits 0x1 are set", check_object_attributes, 0x000F0FF7)
    refuses("attributes", "reserved bits 0x80000000", check_object_attributes, 1 << 31)
    refuses("attributes", "reserved bits 0x300", check_nv_attributes, 0x302)
