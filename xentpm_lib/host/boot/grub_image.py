"""What is inside a GRUB image for UEFI: the modules built into it, its prefix, its own configuration.

Only what is inside an image is measured with it: firmware measures the image as a whole into PCR 4. A
``tpm`` module that GRUB loads from a disk measures nothing that came before, and is not measured itself.

Spec: GRUB's include/grub/kernel.h (struct grub_module_info64, struct grub_module_header); ELF-64 Object
File Format.
"""

import io
import struct
from typing import List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.wire import Reader
from xentpm_lib.host.boot.pe_image import MAX_IMAGE_SIZE, authenticode_digest, parse_pe_image

__all__ = ["MAX_IMAGE_SIZE", "GrubImage", "authenticode_digest", "parse_grub_image"]

_MAGIC = 0x676D696D  # "mimg"
_HEAD_SIZE, _OBJECT_HEAD_SIZE = 24, 8
_ELF, _MEMDISK, _CONFIG, _PREFIX = 0, 1, 2, 3
_MAX_OBJECTS = 1024  # GRUB has about 270 modules
_MAX_ELF_SECTIONS = 256
_ELF_SECTION = struct.Struct("<I20xQQ24x")  # offset of the name among the names, and of the content; its size
_MAX_MEMBERS, _MAX_CONFIG_SIZE = 4096, 1 << 20
_MEASURING = "tpm"


class GrubImage(NamedTuple):
    """A GRUB image.

    modules: the names of the modules inside, in the order in which GRUB loads them.
    prefix: where GRUB looks for ``grub.cfg`` and modules, for instance ``/EFI/xenserver``; a device in
    front where the image names one, ``(memdisk)/boot/grub`` in those of grub-mkstandalone.
    config: the configuration that GRUB runs first, None where the image has none.
    memdisk: the archive or file system inside, None where there is none.
    """

    modules: Tuple[str, ...]
    prefix: str
    config: Optional[bytes]
    memdisk: Optional[bytes]

    @property
    def measures(self) -> bool:
        """Whether this GRUB measures its commands into PCR 8 and the files that it reads into PCR 9."""
        return _MEASURING in self.modules

    def memdisk_file(self, name: str) -> Optional[bytes]:
        """A file of at most 1 MiB in the memdisk; None where there is none or the memdisk is no tar."""
        return None if self.memdisk is None else _tar_member(self.memdisk, name.lstrip("/"))


def parse_grub_image(data: bytes) -> GrubImage:
    """Read a GRUB image of at most 64 MiB, for 64-bit UEFI, signed or not.

    Raises:
        FormatError: it is no such image.
    """
    section = next((one for one in parse_pe_image(data).sections if one.name == "mods"), None)
    if section is None:
        raise FormatError("an EFI program, but no GRUB: it has no section mods")
    return _image(_objects(data[section.offset : section.offset + section.size]))


def _image(objects: List[Tuple[int, bytes]]) -> GrubImage:
    prefix = _only(objects, _PREFIX)
    if prefix is None:
        raise FormatError("mods: no prefix")
    config = _only(objects, _CONFIG)
    return GrubImage(
        tuple(_module_name(body, number) for number, (kind, body) in enumerate(objects) if kind == _ELF),
        _text(prefix, "mods.prefix"),
        None if config is None else config.split(b"\0", 1)[0],
        _only(objects, _MEMDISK),
    )


def _objects(section: bytes) -> List[Tuple[int, bytes]]:
    """Type and content of each object. Types that are not known here (keys, for instance) are kept."""
    head = Reader(section, "mods", "little")
    magic = head.u32()
    head.u32()
    start, size = head.u64(), head.u64()
    if magic != _MAGIC or start != _HEAD_SIZE or not start <= size <= len(section):
        raise FormatError("no GRUB modules: expected a module header", where="mods")
    reader = Reader(section[:size], "mods", "little")
    reader.take(start)
    found: List[Tuple[int, bytes]] = []
    while reader.remaining:
        where = reader.offset
        kind, length = reader.u32(), reader.u32()
        if length < _OBJECT_HEAD_SIZE or len(found) == _MAX_OBJECTS:
            raise FormatError(
                "object {} of {} bytes".format(len(found), length), where="mods offset {}".format(where)
            )
        found.append((kind, reader.take(length - _OBJECT_HEAD_SIZE)))
    return found


def _only(objects: List[Tuple[int, bytes]], wanted: int) -> Optional[bytes]:
    found = [body for kind, body in objects if kind == wanted]
    if len(found) > 1:
        raise FormatError("{} objects of type {}, at most one".format(len(found), wanted), where="mods")
    return found[0] if found else None


def _text(body: bytes, where: str) -> str:
    text, end, rest = body.partition(b"\0")
    if not end or rest.strip(b"\0"):
        raise FormatError("expected a text that ends with a zero byte", where=where)
    try:
        return text.decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError("expected ASCII", where=where) from error


def _module_name(elf: bytes, number: int) -> str:
    """The text in the ELF file's section ``.modname``, which GRUB requires of every module."""
    what = "mods[{}]".format(number)
    head = Reader(elf, what, "little")
    if head.take(6) != b"\x7fELF\x02\x01":
        raise FormatError("expected a 64-bit little-endian ELF file", where=what)
    head.take(34)
    table = head.u64()
    head.take(10)
    entry_size, count, names_index = head.u16(), head.u16(), head.u16()
    if entry_size != _ELF_SECTION.size or not names_index < count <= _MAX_ELF_SECTIONS:
        raise FormatError("expected an ELF section table", where=what)
    sections = list(_ELF_SECTION.iter_unpack(_slice(elf, table, _ELF_SECTION.size * count, what)))
    _, names_start, names_size = sections[names_index]
    names = _slice(elf, names_start, names_size, what)
    for name_offset, start, size in sections:
        if names[name_offset:].split(b"\0", 1)[0] == b".modname":
            return _text(_slice(elf, start, size, what), what + ".modname")
    raise FormatError("no section .modname", where=what)


def _slice(data: bytes, start: int, size: int, what: str) -> bytes:
    reader = Reader(data, what, "little")
    reader.take(start)
    return reader.take(size)


def _tar_member(archive: bytes, name: str) -> Optional[bytes]:
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for number, member in enumerate(tar):
                if number == _MAX_MEMBERS:
                    return None
                if member.name.lstrip("./") == name and member.isreg() and member.size <= _MAX_CONFIG_SIZE:
                    content = tar.extractfile(member)
                    return content.read() if content else None
    except (tarfile.TarError, EOFError, ValueError, OSError):
        return None
    return None
