"""GRUB images: what is inside those that GRUB's own tools make, and everything else is refused."""

import hashlib
import os
import subprocess

import pytest

from support.debian_files import XEN_EFI, installed, unpacked
from support.grub_images import MODULES, make_image, make_standalone
from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot.grub_image import GrubImage, authenticode_digest, parse_grub_image
from xentpm_lib.host.boot.pe_image import parse_pe_image

EMPTY = GrubImage((), "/x", None, None)


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    return make_image(tmp_path_factory.mktemp("stock") / "grubx64.efi")


@pytest.fixture(scope="module")
def measuring(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measuring")
    return make_image(folder / "g.efi", ("tpm", "gzio"), "/EFI/xcp-ng", "configfile /EFI/xcp-ng/grub.cfg\n")


@pytest.fixture(scope="module")
def standalone(tmp_path_factory):
    return make_standalone(tmp_path_factory.mktemp("standalone") / "g.efi", "echo inside\n")


def test_a_stock_image(stock):
    image = parse_grub_image(stock)
    assert {"normal", "fat", "multiboot2", "search_label"} <= set(image.modules)
    assert "tpm" not in image.modules and not image.measures
    assert (image.prefix, image.config, image.memdisk) == ("/EFI/xenserver", None, None)
    assert all(os.path.exists(os.path.join(MODULES, name + ".mod")) for name in image.modules)


def test_an_image_that_measures(measuring):
    image = parse_grub_image(measuring)
    assert image.measures
    assert (image.prefix, image.config) == ("/EFI/xcp-ng", b"configfile /EFI/xcp-ng/grub.cfg\n")


def test_modules_are_told_in_their_order(measuring):
    names = parse_grub_image(measuring).modules
    with open(os.path.join(MODULES, "moddep.lst")) as file:
        needs = dict(line.rstrip("\n").split(":") for line in file if ":" in line)
    for position, name in enumerate(names):
        assert set(needs[name].split()) <= set(names[:position])


def test_an_image_with_a_memdisk(standalone):
    image = parse_grub_image(standalone)
    assert image.measures and image.prefix == "(memdisk)/boot/grub"
    assert image.memdisk_file("/boot/grub/grub.cfg") == b"echo inside\n"
    assert image.memdisk_file("boot/grub/none") is None


@pytest.mark.parametrize("memdisk", [None, b"", b"\xeb<\x90mkfs.fat", b"x" * 2000])
def test_a_memdisk_that_is_no_tar(memdisk):
    assert EMPTY._replace(memdisk=memdisk).memdisk_file("a") is None


@pytest.mark.parametrize("size", [0, 1, 2, 0x3C, 0x40, 200, 1000, -0x1001])
def test_a_cut_image_is_refused(stock, size):
    with pytest.raises(FormatError):
        parse_grub_image(stock[:size])


def test_another_efi_program_is_refused():
    with open(installed(*XEN_EFI), "rb") as file:
        data = file.read()
    with pytest.raises(FormatError, match="no GRUB"):
        parse_grub_image(data)
    assert parse_pe_image(data).machine == 0x8664


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"mimg\0\0\0\0\x18", b"mimh\0\0\0\0\x18"),  # magic
        (b"mimg\0\0\0\0\x18", b"mimg\0\0\0\0\x19"),  # where the objects start
        (b"\0.modname\0", b"\0.modnome\0"),
        (b"/EFI/xenserver\0", b"/EFI/xens\xffrver\0"),
        (b"/EFI/xenserver\0\0", b"/EFI/xenserver\0x"),
        (b"\x7fELF\x02\x01", b"\x7fELF\x01\x01"),
        (b"\x18\0\0\0/EFI", b"\x07\0\0\0/EFI"),  # an object smaller than its head
        (b"\3\0\0\0\x18\0\0\0/EFI", b"\7\0\0\0\x18\0\0\0/EFI"),  # no prefix
    ],
)
def test_a_damaged_image_is_refused(stock, old, new):
    mods = stock.index(b"mimg\0\0\0\0\x18")
    assert old in stock[mods:]
    with pytest.raises(FormatError):
        parse_grub_image(stock[:mods] + stock[mods:].replace(old, new, 1))


@pytest.fixture(scope="module")
def signed(stock, tmp_path_factory):
    """An image, and the same image with a signature."""
    folder = tmp_path_factory.mktemp("signed")
    key, certificate = str(folder / "k.pem"), str(folder / "c.pem")
    (folder / "g.efi").write_bytes(stock)
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
        + ["-subj", "/CN=test"],
        stderr=subprocess.DEVNULL,
    )
    subprocess.check_call(
        ["sbsign", "--key", key, "--cert", certificate, "--output", str(folder / "s.efi")]
        + [str(folder / "g.efi")],
        stderr=subprocess.DEVNULL,
    )
    return (folder / "s.efi").read_bytes()


def test_the_digest_is_the_one_that_a_signature_holds(stock, signed):
    assert len(signed) > len(stock)
    digest = authenticode_digest(signed, "sha256")
    assert digest in signed[len(stock) :] and digest not in stock
    assert parse_grub_image(signed) == parse_grub_image(stock)


def test_a_signature_changes_no_digest(stock, signed):
    padded = stock + bytes(-len(stock) % 8)
    for bank in ("sha1", "sha256", "sha384"):
        digest = authenticode_digest(padded, bank)
        assert digest == authenticode_digest(signed, bank) and len(digest) == hashlib.new(bank).digest_size


def test_every_byte_but_the_checksum_changes_the_digest(stock):
    image, digest = parse_pe_image(stock), authenticode_digest(stock, "sha256")
    for position in (0x50, image.headers_size + 5, image.sections[2].offset + 100, len(stock) - 1):
        changed = bytearray(stock)
        changed[position] ^= 1
        assert authenticode_digest(bytes(changed), "sha256") != digest
    changed = bytearray(stock)
    changed[image.checksum] ^= 1
    assert authenticode_digest(bytes(changed), "sha256") == digest


@pytest.mark.parametrize("bank", ["", "md5", "shake_128"])
def test_an_unknown_bank_is_refused(stock, bank):
    with pytest.raises(FormatError):
        authenticode_digest(stock, bank)


def test_debians_signed_image():
    """Its signature holds the digest that firmware measures: the rule is the one that its signer followed."""
    path = unpacked("grub-efi-amd64-signed", "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
    with open(path, "rb") as file:
        data = file.read()
    image = parse_grub_image(data)
    assert image.measures and {"normal", "tpm", "linux"} <= set(image.modules)
    assert (image.prefix, image.config) == ("/EFI/debian", b"normal (memdisk)/grub.cfg\n")
    offset, size = parse_pe_image(data).certificates
    assert authenticode_digest(data, "sha256") in data[offset : offset + size]


def _pe(image, offset, value, size=4):
    """An image with another number in its headers, at ``offset`` behind its PE signature."""
    changed = bytearray(image)
    start = int.from_bytes(image[0x3C:0x40], "little") + offset
    changed[start : start + size] = value.to_bytes(size, "little")
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "value", "size"),
    [
        (0, 0, 4),  # the signature
        (6, 97, 2),  # sections: too many
        (6, 96, 2),  # sections: behind the headers
        (24, 0x10B, 2),  # a 32-bit program
        (20, 8, 2),  # a short optional header
        (24 + 60, 1 << 30, 4),  # headers larger than the file
        (24 + 60, 16, 4),  # headers smaller than themselves
        (24 + 112 + 8 * 4 + 4, 8, 4),  # signatures that are not at the end
        (24 + 240 + 20, 1 << 30, 4),  # a section behind the file
    ],
)
def test_headers_that_do_not_fit_are_refused(stock, offset, value, size):
    with pytest.raises(FormatError):
        parse_pe_image(_pe(stock, offset, value, size))


def test_an_image_without_directories_has_no_signature(stock):
    image = parse_pe_image(_pe(stock, 24 + 108, 0))
    assert (image.certificates_entry, image.certificates) == (0, (0, 0))
    assert authenticode_digest(_pe(stock, 24 + 108, 0), "sha256") != authenticode_digest(stock, "sha256")


def test_an_image_that_is_too_large_is_refused():
    with pytest.raises(FormatError, match="at most"):
        parse_pe_image(b"MZ" + bytes(64 << 20))
