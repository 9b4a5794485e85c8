"""Intel TXT on this machine: the processor's SMX, the chipset, and the SINIT module for it.

Not verified on hardware, for lack of a TXT machine: that dom0 may map the chipset's public registers
(0xFED30000) through /dev/mem under every Xen, and the selection of a SINIT module against a real chipset.
The layout of the modules is checked against the tool of the tboot project. A SINIT module that the firmware
itself brings (most servers since 2016) cannot be seen from dom0, nor the platform bits of a module's list of
processors: a module that is found to be for this machine can still be refused by it.
"""

import re
from typing import List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot.acm import MAX_ACM_SIZE, ChipsetId, SinitModule, parse_sinit_module
from xentpm_lib.host.boot.files import is_file, listed, read_file
from xentpm_lib.host.dom0 import Dom0
from xentpm_lib.host.paths import Paths

__all__ = ["Txt", "find_txt", "smx_offered"]

_HW_CAPS = re.compile(r"^hw_caps\s*:\s*([0-9a-f:]+)", re.MULTILINE)
_SMX_WORD, _SMX_BIT = 1, 6  # CPUID leaf 1, ECX
_PUBLIC_REGISTERS, _DIDVID, _PAGE = 0xFED30000, 0x110, 4096
_INTEL = 0x8086
_XL_TIMEOUT_S = 10
_MAX_FILES = 512


class Txt(NamedTuple):
    """What is known of TXT.

    smx: whether the processor offers it; None where neither Xen nor Linux tells.
    chipset: the machine's chipset as TXT names it; None where it cannot be read or TXT is off.
    modules: paths of the SINIT modules in /boot.
    sinit: the one that is for this machine; None where none is, or the machine cannot be told.
    """

    smx: Optional[bool]
    chipset: Optional[ChipsetId]
    modules: Tuple[str, ...]
    sinit: Optional[str]

    @property
    def enabled(self) -> Optional[bool]:
        """Whether TXT can be used; None where that cannot be told."""
        if self.chipset is not None:
            return True
        return False if self.smx is False else None


def find_txt(paths: Paths) -> Txt:
    """Look at processor, chipset and /boot. Nothing is raised for what is not there."""
    smx = smx_offered(paths)
    chipset = _chipset(paths) if smx else None
    modules = _modules(paths)
    signature = _processor_signature(paths)
    fitting = [
        (module.date, path)
        for path, module in modules
        if chipset is not None and not module.debug and _fits(module, chipset, signature)
    ]
    return Txt(smx, chipset, tuple(path for path, _ in modules), max(fitting)[1] if fitting else None)


def _fits(module: SinitModule, chipset: ChipsetId, signature: Optional[int]) -> bool:
    if not any(one.covers(chipset) for one in module.chipsets):
        return False
    if not module.processors or signature is None:
        return True
    return any(one.covers(signature) for one in module.processors)


def smx_offered(paths: Paths) -> Optional[bool]:
    """Whether the processor offers SMX; None where nothing tells. Xen goes first: it hides SMX from dom0."""
    caps = _HW_CAPS.search(_xl_info(paths))
    if caps:
        words = caps.group(1).split(":")
        if len(words) > _SMX_WORD and len(words[_SMX_WORD]) == 8:
            return bool(int(words[_SMX_WORD], 16) >> _SMX_BIT & 1)
    flags = Dom0(paths).cpu_flags()
    if "smx" in flags:
        return True
    return False if flags and "hypervisor" not in flags else None


def _xl_info(paths: Paths) -> str:
    import subprocess

    try:
        run = subprocess.run(
            [paths.at("usr/sbin/xl"), "info"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_XL_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout[:65536].decode("ascii", "replace") if run.returncode == 0 else ""


def _chipset(paths: Paths) -> Optional[ChipsetId]:
    """TXT.DIDVID: vendor, device and revision, 16 bits each; all ones where TXT is off."""
    import mmap

    try:
        with open(paths.at("dev/mem"), "rb", buffering=0) as memory:
            with mmap.mmap(memory.fileno(), _PAGE, access=mmap.ACCESS_READ, offset=_PUBLIC_REGISTERS) as page:
                value = int.from_bytes(page[_DIDVID : _DIDVID + 8], "little")
    except (OSError, ValueError, OverflowError):
        return None
    found = ChipsetId(value & 0xFFFF, value >> 16 & 0xFFFF, value >> 32 & 0xFFFF)
    return found if found.vendor == _INTEL else None


def _modules(paths: Paths) -> List[Tuple[str, SinitModule]]:
    found = []
    for number, path in enumerate(listed(paths.at("boot"))):
        if number == _MAX_FILES:
            break
        head = _head(path)
        if not head.startswith(b"\x02\0") or head[16:20] != b"\x86\x80\0\0":
            continue
        data = read_file(path, MAX_ACM_SIZE)
        try:
            if data is not None:
                found.append((path, parse_sinit_module(data)))
        except FormatError:
            continue
    return found


def _head(path: str) -> bytes:
    if not is_file(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(20)
    except OSError:
        return b""


def _processor_signature(paths: Paths) -> Optional[int]:
    """CPUID leaf 1, EAX, put together from what Linux tells."""
    text = (read_file(paths.at("proc/cpuinfo"), 1 << 20) or b"").decode("ascii", "replace")
    numbers = []
    for name in ("cpu family", "model", "stepping"):
        found = re.search(r"^{}\s*:\s*(\d+)$".format(name), text, re.MULTILINE)
        if not found:
            return None
        numbers.append(int(found.group(1)))
    family, model, stepping = numbers
    base, extended = min(family, 15), max(family - 15, 0)
    return (extended << 20) | (model >> 4 << 16) | (base << 8) | ((model & 15) << 4) | stepping
