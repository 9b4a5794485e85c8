"""The recorded boots of tests/vectors/grub_boots: a dom0 that has the same files, and what the TPM saw."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from xentpm_lib.host.paths import Paths

__all__ = ["BOOTS", "case_names", "load_case", "write_dom0"]

BOOTS = Path(__file__).resolve().parent.parent / "vectors" / "grub_boots"


def case_names() -> List[str]:
    """The names of all recorded boots."""
    return sorted(path.stem for path in BOOTS.glob("results/*.json"))


def load_case(name: str) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """What was booted, and what came of it."""
    texts = [(BOOTS / folder / (name + ".json")).read_text() for folder in ("cases", "results")]
    return json.loads(texts[0]), json.loads(texts[1])


def write_dom0(root: Path, case: Dict[str, Any], result: Dict[str, Any]) -> Paths:
    """A dom0 whose EFI partition has the case's files; stand-ins for those of the recording machine."""
    number = case.get("partition", 4)
    esp = root / "boot/efi"
    for name, source in case["files"].items():
        path = esp / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(source, result["files"].get(name)))
    block = root / "sys/devices/disk/sda/sda{}".format(number)
    block.mkdir(parents=True)
    (block / "partition").write_text("{}\n".format(number))
    (block / "dev").write_text("8:{}\n".format(number))
    for folder, name in (
        ("sys/dev/block", "8:{}".format(number)),
        ("sys/class/block", "sda{}".format(number)),
    ):
        (root / folder).mkdir(parents=True)
        os.symlink(str(block), str(root / folder / name))
    for kind, name in (("label", "ROOT-XYZ"), ("uuid", "0ABC-1234")):
        folder_path = root / "dev/disk" / ("by-" + kind)
        folder_path.mkdir(parents=True)
        os.symlink("../../sda{}".format(number), str(folder_path / name))
    (root / "proc/self").mkdir(parents=True)
    line = "30 1 8:{} / /boot/efi rw - vfat /dev/sda{} rw\n".format(number, number)
    (root / "proc/self/mountinfo").write_text(line)
    (root / "sys/firmware/efi").mkdir(parents=True)
    return Paths(str(root), str(root / "opt/xensource/tpm/config"))


def _content(source: str, facts: Optional[Dict[str, Any]]) -> bytes:
    """Text, or noise by name; for another's file its name, for a module what says which others it needs."""
    if facts is not None and facts["needs"] is not None:
        return _module(facts["needs"])
    if facts is not None and facts["text"] is not None:
        return str(facts["text"]).encode()
    if source.startswith("@noise"):
        name, size = source.split()[1:]
        return hashlib.shake_128(name.encode()).digest(int(size))
    return source.encode("latin-1")


def _module(needs: List[str]) -> bytes:
    """An ELF file with a section .moddeps and one of names."""
    names = b"\0.moddeps\0"
    dependencies = b"".join(name.encode() + b"\0" for name in needs)
    header = bytearray(64)
    header[:5] = b"\x7fELF\x02"
    header[0x28:0x30] = (64 + len(names) + len(dependencies)).to_bytes(8, "little")
    header[0x3A:0x40] = b"\x40\0\x02\0\x01\0"
    sections = bytearray(128)
    sections[0:4] = (1).to_bytes(4, "little")
    sections[0x18:0x28] = (64 + len(names)).to_bytes(8, "little") + len(dependencies).to_bytes(8, "little")
    sections[0x58:0x60] = (64).to_bytes(8, "little")
    return bytes(header) + names + dependencies + bytes(sections)
