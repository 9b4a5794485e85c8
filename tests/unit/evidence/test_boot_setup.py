"""evidence/boot_setup.py: what a host says of its measured boot set-up."""

import pytest

from xentpm_lib.evidence.boot_setup import BootSetup, boot_setup_from_json, boot_setup_to_json

SETUP = BootSetup("grub-tpm", "undone", "/boot/efi/EFI/xenserver/grubx64.efi is another file")


@pytest.mark.parametrize(
    "setup", [SETUP, BootSetup("tboot", "pending"), BootSetup("grub-tpm", "active", "x" * 1000)]
)
def test_round_trip(setup):
    assert boot_setup_from_json(boot_setup_to_json(setup), "measured_boot") == setup


@pytest.mark.parametrize(
    "changes, where, fragment",
    [
        ({"method": "magic"}, "measured_boot.method", "expected grub-tpm or tboot"),
        ({"method": []}, "measured_boot.method", "expected grub-tpm or tboot"),
        ({"state": "trusted"}, "measured_boot.state", "expected active or pending or undone"),
        ({"state": None}, "measured_boot.state", "expected active"),
        ({"detail": None}, "measured_boot.detail", "expected printable ASCII"),
        ({"detail": "a\nb"}, "measured_boot.detail", "expected printable ASCII"),
        ({"detail": "\x1b[2J"}, "measured_boot.detail", "expected printable ASCII"),
        ({"detail": "x" * 1001}, "measured_boot.detail", "1001 characters, at most 1000"),
        ({"extra": 1}, "measured_boot", "the member 'extra' is unknown"),
    ],
)
def test_refusals(refuses, changes, where, fragment):
    document = dict(boot_setup_to_json(SETUP), **changes)
    refuses(where, fragment, boot_setup_from_json, document, "measured_boot")


def test_what_is_no_object(refuses):
    refuses("measured_boot", "expected an object", boot_setup_from_json, None, "measured_boot")
