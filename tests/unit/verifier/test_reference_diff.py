"""Two sets of PCR values are compared register by register, and event by event where logs lead to them."""

import struct

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from support.measured_boot import BOOT
from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import Event, EventLog, build_event_log
from xentpm_lib.evidence.pcr import extend
from xentpm_lib.verifier.policy.model import BootPath
from xentpm_lib.verifier.reference.diff import EventChange, compared_registers, diff, event_changes
from xentpm_lib.verifier.reference.event_text import MAX_LINE, event_line, is_own_digest, one_line
from xentpm_lib.verifier.reference.measured import MeasuredEvent, measurements

UUID = "01234567-89ab-cdef-0123-456789abcdef"
NEW_INITRD = b"/boot/initrd-4.19-xen.img, another"


def booted(*changes):
    """A host of one serial number, whose boot differs by (old data, new data)."""
    boot = BOOT
    for old, new in changes:
        boot = tuple((pcr, kind, new if data == old else data) for pcr, kind, data in boot)
        boot = tuple(event for event in boot if event[2] is not None)
    return SoftwareAttester(system_uuid=UUID, boot=boot)


def known(host):
    return measurements(host.pcrs, host.event_log())


def compared(a, b):
    return diff(a.pcrs, b.pcrs, BootPath.UEFI_GRUB, measured_a=known(a), measured_b=known(b))


def test_equal_values_have_no_differences():
    assert compared(booted(), booted()) == ()


def test_a_changed_initrd_is_named():
    a, b = booted(), booted((b"/boot/initrd-4.19-xen.img", NEW_INITRD))
    (found,) = compared(a, b)
    assert (found.bank, found.pcr, found.what) == ("sha256", 9, "Xen, dom0 kernel or initrd")
    assert (found.a, found.b) == (a.pcrs["sha256"][9], b.pcrs["sha256"][9])
    (change,) = found.events
    assert (change.a.text, change.b.text) == ("/boot/initrd-4.19-xen.img", NEW_INITRD.decode())


def test_registers_are_ascending_and_can_be_chosen():
    a, b = booted(), booted((b"firmware volume", b"firmware volume 2"), (b"grubx64.efi", b"grubx64.efi 2"))
    b.extend(15, b"asset tag")
    assert [one.pcr for one in compared(a, b)] == [0, 4, 15]
    registers = compared_registers(make_policy())
    assert [one.pcr for one in diff(a.pcrs, b.pcrs, BootPath.UEFI_GRUB, registers=registers)] == [0, 4]


def test_without_logs_only_values_are_told():
    (found,) = diff({"sha256": {0: b"a"}}, {"sha256": {}}, BootPath.FIRMWARE)
    assert (found.a, found.b, found.events, found.what) == (b"a", None, None, "firmware code")


def test_a_register_that_a_log_does_not_lead_to_has_no_events():
    a, b = booted(), booted()
    b.extend(9, b"not in the log")
    (found,) = compared(a, b)
    assert found.events is None
    assert ("sha256", 8) in known(b)
    assert ("sha256", 9) not in known(b)


def test_a_log_that_cannot_be_read_tells_nothing():
    host = booted()
    assert measurements(host.pcrs, b"\0" * 40) == {}
    assert measurements(host.pcrs, host.event_log()[:-1]) == {}
    assert measurements(host.pcrs) == {}
    assert measurements({"sha384": {0: bytes(48)}}, host.event_log()) == {}


def test_the_boot_log_tells_where_the_firmware_log_does_not():
    host = booted()
    value = bytes(32)
    for event in (b"grub.cfg", b"xen.gz"):
        value = extend("sha256", value, digest("sha256", event))
    host.pcrs["sha256"][9] = value
    boot_log = tuple(
        BootEvent(9, {"sha256": digest("sha256", text)}, f"/{text.decode()}")
        for text in (b"grub.cfg", b"xen.gz")
    )
    found = measurements(host.pcrs, host.event_log(), boot_log)
    assert [event.text for event in found["sha256", 9]] == ["/grub.cfg", "/xen.gz"]
    assert not any(event.proven for event in found["sha256", 9])
    assert ("sha256", 0) in found
    assert measurements(host.pcrs, None, boot_log[:1]) == {}


def test_a_start_from_another_locality_is_replayed():
    locality = Event(0, 3, {"sha256": bytes(32)}, b"StartupLocality\0\3")
    measured = Event(0, 8, {"sha256": digest("sha256", b"v")}, b"v")
    log = build_event_log(EventLog({"sha256": 32}, (locality, measured)))
    value = extend("sha256", bytes(31) + b"\3", digest("sha256", b"v"))
    assert set(measurements({"sha256": {0: value}}, log)) == {("sha256", 0)}


def test_a_log_with_two_starts_or_without_a_bank_tells_nothing():
    two = (Event(0, 3, {"sha256": bytes(32)}, b"StartupLocality\0\3"),) * 2
    assert measurements({"sha256": {0: bytes(32)}}, build_event_log(EventLog({"sha256": 32}, two))) == {}
    host = booted()
    sized = BootEvent(9, {"sha256": b"short"}, "no digest")
    assert measurements(host.pcrs, None, (sized,)) == {}


def events(*texts):
    return [MeasuredEvent(text.encode(), text, True) for text in texts]


def changes(a, b):
    found = event_changes(events(*a), events(*b))
    return [(one.a and one.a.text, one.b and one.b.text) for one in found]


def test_added_and_removed_and_changed_events_are_told_apart():
    assert changes("abc", "abc") == []
    assert changes("abc", "abxc") == [(None, "x")]
    assert changes("abc", "ac") == [("b", None)]
    assert changes("abc", "axc") == [("b", "x")]
    assert changes("", "a") == [(None, "a")]
    assert changes("abcd", "axd") == [("b", None), ("c", None), (None, "x")]


def test_events_of_one_text_are_paired():
    a = [MeasuredEvent(b"1", "xen", False), MeasuredEvent(b"2", "initrd", False)]
    b = [MeasuredEvent(b"3", "initrd", False)]
    assert event_changes(a, b) == (EventChange(a[0], None), EventChange(a[1], b[0]))


def test_logs_of_the_same_digest_over_and_over_are_compared_place_by_place():
    """Matching them would take minutes; nothing is lost."""
    a = [MeasuredEvent(bytes([number % 2]), "", True) for number in range(1024)]
    b = [*a[:500], MeasuredEvent(b"x", "x", True), *a[501:-1]]
    assert event_changes(a, b) == (EventChange(a[500], b[500]), EventChange(a[-1], None))
    assert event_changes(a, a) == ()
    assert event_changes(a[:-1], a) == (EventChange(None, a[-1]),)


def test_a_long_log_of_different_digests_is_matched():
    a = [MeasuredEvent(number.to_bytes(2, "big"), "", True) for number in range(5000)]
    new = MeasuredEvent(b"x", "x", True)
    assert event_changes(a, [*a[:100], new, *a[100:]]) == (EventChange(None, new),)


def test_a_text_that_was_cut_is_not_proven():
    """What is measured may be longer than what is shown of it."""
    for size, proven in ((4096, True), (4097, False)):
        text = b"grub_cmd: " + b"x" * (size - 10)
        host = SoftwareAttester(boot=(*BOOT, (8, 0x0D, text)))
        assert known(host)["sha256", 8][-1].proven is proven


def variable(name, value):
    return bytes(16) + struct.pack("<QQ", len(name), len(value)) + name.encode("utf-16-le") + value


def device_path(name):
    text = (name + "\0").encode("utf-16-le")
    path = struct.pack("<BBH", 4, 4, 4 + len(text)) + text + b"\x7f\xff\x04\0"
    return bytes(24) + struct.pack("<Q", len(path)) + path


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        (0x0D, b"/boot/xen.gz\0", "/boot/xen.gz"),
        (0x0D, b"grub_cmd: set default=0\0", "grub_cmd: set default=0"),
        (0x0D, b"grub_cmd: menuentry x {\n  boot\n}\0", "grub_cmd: menuentry x { boot }"),
        (0x0D, b"\x1b[31m\xe2\x80\xae\0", "\\x1b[31m\\xe2\\x80\\xae"),
        (0x0D, b"", "(nothing)"),
        (0x04, bytes(4), "end of what firmware measures"),
        (0x04, b"\1\0\0\0", "firmware error"),
        (0x80000007, b"Exit Boot Services Invocation", "Exit Boot Services Invocation"),
        (0x08, "1.0\0".encode("utf-16-le"), "firmware version '1.0'"),
        (0x80000001, variable("SecureBoot", b"\1"), "variable SecureBoot = 01"),
        (0x80000001, variable("PK", b""), "variable PK = (empty)"),
        (0x80000001, variable("db", bytes(17)), "variable db = (17 bytes)"),
        (0x80000001, variable("db", b"")[:-1], "EV_EFI_VARIABLE_DRIVER_CONFIG, 35 bytes"),
        (0x80000001, b"short", "EV_EFI_VARIABLE_DRIVER_CONFIG, 5 bytes"),
        (0x80000003, device_path("\\EFI\\x.efi"), "program \\EFI\\x.efi"),
        (0x80000003, device_path("x")[:-1], "EV_EFI_BOOT_SERVICES_APPLICATION, 43 bytes"),
        (0x80000003, bytes(24) + b"\4" + bytes(11), "EV_EFI_BOOT_SERVICES_APPLICATION, 36 bytes"),
        (0x80000008, struct.pack("<QQ", 4096, 10), "firmware volume at 0x1000, 10 bytes"),
        (0x80000006, b"EFI PART", "partition table"),
        (0xABCD, b"abc", "0x0000abcd, 3 bytes"),
    ],
)  # fmt: skip
def test_events_in_words(kind, data, line):
    assert event_line(Event(0, kind, {}, data)) == line


def test_words_are_bounded_and_harmless():
    assert len(one_line("x" * 5000)) == MAX_LINE
    assert one_line("a\u202eb\x07\ud800") == "a\\u202eb\\x07\\ud800"


@pytest.mark.parametrize(
    ("measured", "data", "own"),
    [
        (b"set default=0", b"set default=0", True),
        (b"set default=0", b"grub_cmd: set default=0\0", True),
        (b"set default=1", b"grub_cmd: set default=0\0", False),
        (b"content of a file", b"/boot/xen.gz\0", False),
    ],
)
def test_a_text_that_was_measured_is_told_from_a_claim(measured, data, own):
    event = Event(8, 0x0D, {"sha256": digest("sha256", measured)}, data)
    assert is_own_digest(event, "sha256") is own
    assert is_own_digest(event, "no bank") is False
