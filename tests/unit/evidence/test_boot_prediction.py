"""evidence/boot_prediction.py: the document that tells what the next boot will measure."""

import json

import pytest

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.boot_prediction import MAX_NOTES, BootPrediction

PREDICTION = BootPrediction(
    "01234567-89ab-cdef-0123-456789abcdef",
    "2026-01-31T23:59:59Z",
    "XCP-ng",
    (
        BootEvent(8, {"sha256": b"a" * 32}, "grub_cmd: set default=0"),
        BootEvent(9, {"sha256": b"b" * 32}, "/boot/xen.gz"),
    ),
    ("the boot loader's disk is taken to be hd0",),
)


def test_round_trip():
    text = PREDICTION.to_json()
    assert text.isascii() if hasattr(text, "isascii") else text.encode("ascii")
    assert "\n" not in text
    assert BootPrediction.from_json(text) == PREDICTION


@pytest.mark.parametrize(
    "changes, where, fragment",
    [
        ({"version": 2}, "version", "expected 1"),
        ({"version": True}, "version", "expected 1"),
        ({"host_uuid": "x"}, "host_uuid", "UUID"),
        ({"created": "today"}, "created", ""),
        ({"entry": "a\nb"}, "entry", "expected printable ASCII"),
        ({"entry": None}, "entry", "expected printable ASCII"),
        ({"entry": "x" * 501}, "entry", "expected printable ASCII, at most 500"),
        ({"boot_log": []}, "boot_log", "there is no event"),
        ({"boot_log": None}, "boot_log", "expected an array"),
        ({"notes": None}, "notes", "expected an array of at most 64"),
        ({"notes": ["a"] * (MAX_NOTES + 1)}, "notes", "expected an array of at most 64"),
        ({"notes": ["a", "\u202e"]}, "notes[1]", "expected printable ASCII"),
        ({"extra": 1}, "prediction", "the member 'extra' is unknown"),
    ],
)
def test_refusals(refuses, changes, where, fragment):
    document = dict(json.loads(PREDICTION.to_json()), **changes)
    refuses(where, fragment, BootPrediction.from_json, json.dumps(document))


def test_what_would_not_read_back_is_not_written():
    with pytest.raises(FormatError, match="would not read back"):
        PREDICTION._replace(untrusted_notes=["a list"]).to_json()
