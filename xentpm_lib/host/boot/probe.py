"""``xentpm-boot probe``: what of this host's boot is measured, and what can be done about the rest."""

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from xentpm_lib.host.boot.facts import BootFacts
from xentpm_lib.host.boot.links import Link, links_of
from xentpm_lib.host.boot.tpm_view import TpmView, read_view
from xentpm_lib.host.paths import Paths
from xentpm_lib.host.status import wrapped

__all__ = ["Probe", "probe"]

_TELL = {True: "yes", False: "no", None: "unknown"}


class Probe(NamedTuple):
    """What was found. ``no_tpm``: why there is no ``view`` of a TPM."""

    facts: BootFacts
    view: Optional[TpmView]
    no_tpm: str
    links: Tuple[Link, ...]

    @property
    def measured(self) -> Optional[bool]:
        """Whether Xen, dom0's kernel, its initrd and their command lines are all measured in this boot."""
        names = ("xen", "kernel", "initrd", "command_lines")
        states = [link.measured for link in self.links if link.name in names]
        return False if False in states else None if None in states else True

    @property
    def next_step(self) -> str:
        """What to do first; empty where nothing is to be done."""
        return next((link.advice for link in self.links if link.advice), "")

    def to_json(self) -> str:
        """``{"version": 1, "measured": …, "next_step": …, "facts": {…}, "links": [{name, …}, …]}``."""
        links = [dict(link._asdict(), pcrs=list(link.pcrs)) for link in self.links]
        told = {"measured": self.measured, "next_step": self.next_step, "facts": self._facts()}
        return json.dumps(dict(told, version=1, links=links))

    def to_text(self) -> str:
        """For people: what was found, then the chain link by link, 79 columns wide."""
        rows = self._rows()
        width = max(len(title) for title, _ in rows)
        lines: List[str] = []
        for title, seen in rows:
            lines += wrapped("{:<{}}  ".format(title, width), _printable(seen))
        lines += ["", "Measured in this boot:"]
        for link in self.links:
            head = "  {:<{}}  {:<7}  ".format(link.title, width - 2, _TELL[link.measured])
            lines += wrapped(head, _seen(link))
            lines += wrapped(" " * len(head) + "-> ", link.advice) if link.advice else []
        return "\n".join(lines)

    def _facts(self) -> Dict[str, Any]:
        facts, layout = self.facts, self.facts.layout
        xen, txt = facts.xen, facts.txt
        return {
            "boot_mode": "uefi" if layout.uefi else "legacy",
            "secure_boot": facts.secure_boot,
            "setup_mode": facts.setup_mode,
            "boot_entry": None if facts.option is None else dict(facts.option._asdict()),
            "esp": layout.esp,
            "grub_image": layout.image,
            "grub_image_copies": list(layout.copies),
            "grub_image_modules": None if facts.grub is None else list(facts.grub.modules),
            "grub_image_measures": None if facts.grub is None else facts.grub.measures,
            "grub_prefix": None if facts.grub is None else facts.grub.prefix,
            "grub_config": layout.config,
            "default_entry": None if facts.entry is None else facts.entry.title,
            "xen": None if xen is None else dict(xen._asdict()),
            "running_xen": facts.running_xen,
            "smx": txt.smx,
            "txt": txt.enabled,
            "sinit_modules": list(txt.modules),
            "sinit": txt.sinit,
            "banks": None if self.view is None else list(self.view.banks),
            "grub_modules": layout.modules,
            "grub_mkimage": layout.mkimage,
        }

    def _rows(self) -> List[Tuple[str, str]]:
        facts, layout = self.facts, self.facts.layout
        rows = [("Boot mode", "UEFI" if layout.uefi else "legacy BIOS")]
        if layout.uefi:
            secure = {True: "on", False: "off", None: "the firmware does not tell"}[facts.secure_boot]
            rows += [
                ("Secure Boot", secure + (", in setup mode" if facts.setup_mode else "")),
                ("Boot entry", _option(facts)),
                ("GRUB image", _image(facts)),
            ]
            rows += [("  copy of it", path) for path in layout.copies]
        rows += [
            ("GRUB configuration", layout.config or "not found"),
            ("Default entry", facts.entry.title if facts.entry else "not found in the configuration's text"),
            ("Xen", _xen(facts)),
            ("Xen that runs", facts.running_xen or "unknown"),
            ("Intel TXT", _txt(facts)),
            ("SINIT module", _sinit(facts)),
            ("TPM banks", ", ".join(self.view.banks) if self.view else self.no_tpm),
            ("GRUB modules", layout.modules or "none with tpm.mod were found"),
            ("GRUB tool", layout.mkimage or "no grub-mkimage was found"),
        ]
        return rows


def probe(paths: Paths, view: Optional[TpmView] = None) -> Probe:
    """Look at a host. It reads only; nothing is raised for what the host lacks.

    view: what its TPM shows, for a caller that holds it open; else the TPM is opened here.
    """
    no_tpm = ""
    if view is None:
        view, no_tpm = read_view(paths)
    facts = BootFacts.find(paths)
    return Probe(facts, view, no_tpm, links_of(facts, view))


def _printable(text: str) -> str:
    """Names from firmware and menu are anybody's: whatever could repaint a terminal is spelled out."""
    escaped = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if " " <= char <= "~" else "\\x{:02x}".format(ord(char)) for char in escaped)


def _seen(link: Link) -> str:
    where = ""
    if link.pcrs and link.measured:
        where = "PCR {}, by {}".format(" and ".join(map(str, link.pcrs)), link.by)
    return "; ".join(part for part in (where, link.why) if part)


def _option(facts: BootFacts) -> str:
    if facts.option is None:
        return "the firmware does not tell"
    return "{}: {}".format(facts.option.description, facts.option.file or "the disk's default")


def _image(facts: BootFacts) -> str:
    if facts.grub is None:
        return "not found"
    inside = "tpm inside" if facts.grub.measures else "no tpm inside"
    return "{} ({} modules, {})".format(facts.layout.image, len(facts.grub.modules), inside)


def _xen(facts: BootFacts) -> str:
    xen = facts.xen
    if xen is None:
        return "the default entry's file was not found"
    tboot = {True: "tboot support", False: "no tboot support", None: "tboot support unknown"}[xen.tboot]
    about = [xen.version or "version unknown"] + (["gzip"] if xen.compressed else []) + [tboot]
    return "{} ({})".format(xen.path, ", ".join(about))


def _txt(facts: BootFacts) -> str:
    smx = "SMX {}".format({True: "offered", False: "not offered", None: "unknown"}[facts.txt.smx])
    chipset = facts.txt.chipset
    if chipset is not None:
        return "{}, chipset {:04x}:{:04x}".format(smx, chipset.vendor, chipset.device)
    return smx if facts.txt.enabled is False else smx + ", chipset unknown"


def _sinit(facts: BootFacts) -> str:
    txt = facts.txt
    if txt.sinit:
        return txt.sinit
    if not txt.modules:
        return "none in /boot"
    why = "this machine's chipset is unknown" if txt.chipset is None else "none is for this machine"
    return "{}; {}".format(", ".join(txt.modules), why)
