"""What the files of a dom0 tell, and what is told where they are absent or damaged."""

import os

import pytest

from support.dom0 import HOST_UUID, SYSTEM_UUID
from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.event_log import MAX_EVENT_LOG_SIZE
from xentpm_lib.host.dom0 import MAXIMUM_EVENT_LOG_BYTES

EVENT_LOG = "sys/kernel/security/tpm0/binary_bios_measurements"
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


@pytest.fixture
def files(bare_dom0):
    """The dom0 under test, and a function that writes one of its files."""

    def write(path, data):
        with open(os.path.join(bare_dom0.root, path), "wb") as file:
            file.write(data)

    return bare_dom0.host().dom0, write


def _refusal(read):
    with pytest.raises(XenTpmError) as caught:
        read()
    assert caught.value.code == "XENTPM_DOM0"
    assert caught.value.hint
    return caught.value.message


def test_identifiers(files):
    dom0, _ = files
    assert (dom0.host_uuid, dom0.system_uuid) == (HOST_UUID, SYSTEM_UUID)


@pytest.mark.parametrize(
    "text",
    [
        b"INSTALLATION_UUID='%s'\n" % HOST_UUID.upper().encode(),
        b'INSTALLATION_UUID="%s"\n' % HOST_UUID.encode(),
        b"INSTALLATION_UUID=%s" % HOST_UUID.encode(),
        b"X='1'\njunk\n\xff\nINSTALLATION_UUID = '%s' \n" % HOST_UUID.encode(),
    ],
)
def test_inventory_spellings(files, text):
    dom0, write = files
    write("etc/xensource-inventory", text)
    assert dom0.host_uuid == HOST_UUID


@pytest.mark.parametrize("text", [b"", b"OTHER='x'\n", b"INSTALLATION_UUID=''\n", b"INSTALLATION_UUID='x'"])
def test_inventory_without_uuid(files, text):
    dom0, write = files
    write("etc/xensource-inventory", text)
    assert "INSTALLATION_UUID" in _refusal(lambda: dom0.host_uuid)


def test_no_inventory(files, bare_dom0):
    os.unlink(os.path.join(bare_dom0.root, "etc/xensource-inventory"))
    _refusal(lambda: files[0].host_uuid)


def test_no_system_uuid(files, bare_dom0):
    dom0, write = files
    for data in (b"", b" \n", b"Not Settable\n", b"\xff" * 36):
        write("sys/class/dmi/id/product_uuid", data)
        assert "SMBIOS UUID" in _refusal(lambda: dom0.system_uuid)
    os.unlink(os.path.join(bare_dom0.root, "sys/class/dmi/id/product_uuid"))
    _refusal(lambda: dom0.system_uuid)


def test_event_log(files):
    dom0, write = files
    assert dom0.event_log() is None
    write(EVENT_LOG, b"")
    assert dom0.event_log() is None
    write(EVENT_LOG, b"log")
    assert dom0.event_log() == b"log"


def test_both_halves_have_one_limit_for_event_logs():
    assert MAXIMUM_EVENT_LOG_BYTES == MAX_EVENT_LOG_SIZE


def test_event_log_too_large(files, bare_dom0):
    dom0, write = files
    write(EVENT_LOG, b"")
    os.truncate(os.path.join(bare_dom0.root, EVENT_LOG), MAXIMUM_EVENT_LOG_BYTES)
    assert len(dom0.event_log()) == MAXIMUM_EVENT_LOG_BYTES
    os.truncate(os.path.join(bare_dom0.root, EVENT_LOG), MAXIMUM_EVENT_LOG_BYTES + 1)
    assert "more than 2097152 bytes" in _refusal(dom0.event_log)


@pytest.mark.parametrize(
    "text, flags",
    [
        (b"processor : 0\nflags\t\t: fpu aes\nflags : smx\n", ["fpu", "aes"]),
        (b"processor : 0\n", []),
        (b"", []),
    ],
)
def test_cpu_flags(files, text, flags):
    dom0, write = files
    write("proc/cpuinfo", text)
    assert dom0.cpu_flags() == flags


@pytest.mark.parametrize(
    "data, state",
    [
        (b"\6\0\0\0\1", True),
        (b"\6\0\0\0\0", False),
        (b"\6\0\0\0\2", False),
        (b"\6\0\0\0", None),
        (b"\6\0\0\0\1\1", None),
        (b"", None),
    ],
)
def test_secure_boot(files, data, state):
    dom0, write = files
    assert dom0.secure_boot() is None
    write(SECURE_BOOT, data)
    assert dom0.secure_boot() is state


def test_boot_mode(files, bare_dom0):
    assert files[0].is_uefi()
    os.removedirs(os.path.join(bare_dom0.root, "sys/firmware/efi/efivars"))
    assert not files[0].is_uefi()
