"""The outline of an EFI program (PE32+): its sections, and the digest by which firmware knows it.

Spec: Microsoft PE Format; Windows Authenticode Portable Executable Signature Format, "Calculating the PE
Image Hash"; TCG PC Client Platform Firmware Profile, Measuring PE/COFF Image Files.
"""

import hashlib
from typing import List, NamedTuple, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import hash_by_name
from xentpm_lib.evidence.wire import Reader

__all__ = ["MAX_IMAGE_SIZE", "PeImage", "PeSection", "authenticode_digest", "parse_pe_image"]

MAX_IMAGE_SIZE = 64 << 20  # bytes; a GRUB image has 0.2 to 12 MiB
_MAX_SECTIONS = 96  # as Windows; GRUB images have 4 to 10
_PE_OFFSET = 0x3C
_COFF_SIZE, _SECTION_SIZE = 24, 40  # with the signature "PE\0\0"
_PE32_PLUS = 0x20B
_HEADERS_SIZE, _CHECKSUM, _DIRECTORY_COUNT, _DIRECTORIES = 60, 64, 108, 112  # into the optional header
_CERTIFICATES = 4  # the index of the certificate table among the directories


class PeSection(NamedTuple):
    """A section: its name and where its bytes are in the file."""

    name: str
    offset: int
    size: int


class PeImage(NamedTuple):
    """What of an EFI program's headers matters here; all offsets and sizes are bytes of the file.

    machine: the COFF machine type, 0x8664 for x86-64.
    checksum: offset of the 4 bytes of the checksum.
    certificates_entry: offset of the 8 bytes that tell where the certificate table is; 0 for none.
    certificates: offset and size of the certificate table, both 0 where there is none.
    headers_size: the size of all headers.
    sections: in the order of the headers.
    """

    machine: int
    checksum: int
    certificates_entry: int
    certificates: Tuple[int, int]
    headers_size: int
    sections: Tuple[PeSection, ...]


def parse_pe_image(data: bytes) -> PeImage:
    """Read the headers of a PE32+ image of at most 64 MiB.

    Raises:
        FormatError: it is none, or its headers point outside of it.
    """
    if len(data) > MAX_IMAGE_SIZE:
        raise FormatError("an EFI program of {} bytes, at most {}".format(len(data), MAX_IMAGE_SIZE))
    if data[:2] != b"MZ":
        raise FormatError("no EFI program: it does not start with MZ", where="offset 0")
    start = _at(data, _PE_OFFSET).u32()
    head = _at(data, start)
    if head.take(4) != b"PE\0\0":
        raise FormatError("no EFI program: no PE signature", where="offset {}".format(start))
    machine, section_count = head.u16(), head.u16()
    head.take(12)
    optional_size = head.u16()
    optional = start + _COFF_SIZE
    if _at(data, optional).u16() != _PE32_PLUS or optional_size < _DIRECTORIES:
        raise FormatError("no 64-bit EFI program (PE32+)", where="offset {}".format(optional))
    entry, certificates = _certificates(data, optional, optional_size)
    headers_size = _at(data, optional + _HEADERS_SIZE).u32()
    table = optional + optional_size
    sections = _sections(data, table, section_count)
    if not table + section_count * _SECTION_SIZE <= headers_size <= len(data):
        raise FormatError(
            "headers of {} bytes".format(headers_size), where="offset {}".format(optional + _HEADERS_SIZE)
        )
    return PeImage(machine, optional + _CHECKSUM, entry, certificates, headers_size, sections)


def authenticode_digest(data: bytes, bank: str) -> bytes:
    """The digest by which firmware measures an EFI program into PCR 4 of ``bank``.

    It leaves out the checksum and the signatures, so that signing an image does not change it.

    Raises:
        FormatError: ``data`` is no PE32+ image, or the bank's hash is not known.
    """
    hash_by_name(bank, "bank")
    image = parse_pe_image(data)
    view, hasher = memoryview(data), hashlib.new(bank)
    hasher.update(view[: image.checksum])
    if image.certificates_entry:
        hasher.update(view[image.checksum + 4 : image.certificates_entry])
        hasher.update(view[image.certificates_entry + 8 : image.headers_size])
    else:
        hasher.update(view[image.checksum + 4 : image.headers_size])
    hashed = image.headers_size
    for section in sorted(image.sections, key=lambda one: one.offset):
        if section.size:
            hasher.update(view[section.offset : section.offset + section.size])
            hashed += section.size
    hasher.update(view[hashed : len(data) - image.certificates[1]])
    return hasher.digest()


def _at(data: bytes, offset: int) -> Reader:
    reader = Reader(data, "EFI program", "little")
    reader.take(offset)
    return reader


def _certificates(data: bytes, optional: int, optional_size: int) -> Tuple[int, Tuple[int, int]]:
    count = _at(data, optional + _DIRECTORY_COUNT).u32()
    entry = optional + _DIRECTORIES + 8 * _CERTIFICATES
    if count <= _CERTIFICATES or optional_size < _DIRECTORIES + 8 * (_CERTIFICATES + 1):
        return 0, (0, 0)
    reader = _at(data, entry)
    offset, size = reader.u32(), reader.u32()
    if size and offset + size != len(data):
        raise FormatError("the signatures are not at the end", where="offset {}".format(entry))
    return entry, (offset, size) if size else (0, 0)


def _sections(data: bytes, table: int, count: int) -> Tuple[PeSection, ...]:
    if count > _MAX_SECTIONS:
        raise FormatError(
            "{} sections, at most {}".format(count, _MAX_SECTIONS), where="offset {}".format(table)
        )
    reader = _at(data, table)
    sections: List[PeSection] = []
    for _ in range(count):
        where = reader.offset
        name = reader.take(8).rstrip(b"\0").decode("ascii", "backslashreplace")
        reader.take(8)
        size, offset = reader.u32(), reader.u32()
        reader.take(16)
        if size and offset + size > len(data):
            raise FormatError("section {} ends behind the file".format(name), where="offset {}".format(where))
        sections.append(PeSection(name, offset, size))
    return tuple(sections)
