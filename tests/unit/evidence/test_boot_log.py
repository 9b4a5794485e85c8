"""evidence/boot_log.py: what dom0 computes of the boot."""

import pytest

from xentpm_lib.evidence.boot_log import BootEvent, boot_log_from_json, boot_log_to_json

EVENT = BootEvent(8, {"sha1": b"a" * 20, "sha256": b"b" * 32}, "menuentry 'XenServer' {\n\tmultiboot2\n}")
DOCUMENT = boot_log_to_json((EVENT,))[0]


def test_round_trip():
    events = (EVENT, EVENT._replace(pcr=23, digests={}, description=""))
    assert boot_log_from_json(boot_log_to_json(events), "boot_log") == events


@pytest.mark.parametrize(
    "changes, where, fragment",
    [
        ({"pcr": 24}, "boot_log[1].pcr", "expected 0 to 23"),
        ({"pcr": True}, "boot_log[1].pcr", "expected 0 to 23"),
        ({"pcr": "8"}, "boot_log[1].pcr", "expected 0 to 23"),
        ({"digests": []}, "boot_log[1].digests", "expected an object"),
        ({"digests": {"md5": "00"}}, "boot_log[1].digests", "no hash algorithm"),
        ({"digests": {"sha1": "00"}}, "boot_log[1].digests.sha1", "expected 40 hex digits, got 2"),
        ({"description": None}, "boot_log[1].description", "expected printable ASCII"),
        ({"description": "\x1b[2J"}, "boot_log[1].description", "expected printable ASCII"),
        ({"description": "\u202e"}, "boot_log[1].description", "expected printable ASCII"),
        ({"description": "\ud800"}, "boot_log[1].description", "expected printable ASCII"),
        ({"description": "\x7f"}, "boot_log[1].description", "expected printable ASCII"),
        ({"description": "\r"}, "boot_log[1].description", "expected printable ASCII"),
        ({"description": "x" * 4097}, "boot_log[1].description", "4097 characters, at most 4096"),
        ({"extra": 1}, "boot_log[1]", "the member 'extra' is unknown"),
    ],
)
def test_refusals(refuses, changes, where, fragment):
    refuses(where, fragment, boot_log_from_json, [DOCUMENT, dict(DOCUMENT, **changes)], "boot_log")


def test_what_is_no_list_of_events(refuses):
    refuses("boot_log", "expected an array, got dict", boot_log_from_json, {}, "boot_log")
    refuses("boot_log[0]", "expected an object, got NoneType", boot_log_from_json, [None], "boot_log")
    refuses("boot_log", "1025 events, at most 1024", boot_log_from_json, [DOCUMENT] * 1025, "boot_log")
