"""The chain of a boot, link by link: is it measured, by whom, into which register, and if not, why not.

It puts together what the files can do and what the TPM shows, since neither is enough alone: an image that
measures may not have been booted yet, and registers that GRUB leaves at zero can be extended by anything
that runs in dom0.
"""

from typing import NamedTuple, Optional, Tuple

from xentpm_lib.host.boot.facts import BootFacts
from xentpm_lib.host.boot.tpm_view import TpmView

__all__ = ["EXTENDED_BY_OTHERS", "NOT_BOOTED_YET", "Link", "links_of"]

NOT_BOOTED_YET = "set up, but not booted with yet"
EXTENDED_BY_OTHERS = (
    "PCR 8 and 9 are extended, but no GRUB image on disk does that: it was replaced after this boot, "
    "or root in dom0 extended them"
)
_RESTART = "Restart the host."
_NO_TPM = "the TPM cannot be read"
_COMMANDS, _FILES = 8, 9
_XEN, _KERNEL, _INITRD, _LINES = "Xen", "dom0 kernel", "dom0 initrd", "Command lines"


class Link(NamedTuple):
    """A link of the chain.

    name: stable, for programs. measured: None where it cannot be told.
    pcrs: where it is measured, or would be. by: who measures it, or would.
    why: why it is not measured, or why that cannot be told. advice: what to do, often empty.
    """

    name: str
    title: str
    measured: Optional[bool]
    pcrs: Tuple[int, ...]
    by: str
    why: str = ""
    advice: str = ""


class _State(NamedTuple):
    measured: Optional[bool]
    why: str = ""
    advice: str = ""


def links_of(facts: BootFacts, view: Optional[TpmView]) -> Tuple[Link, ...]:
    """All links, in the order in which a host boots. ``view``: None where the TPM cannot be read."""
    head = (_firmware(view), _boot_loader(facts, view))
    if view is not None and view.launched:
        return head + _launched(facts) + (_asset_tag(view),)
    return head + _by_grub(facts, view) + (_asset_tag(view),)


def _firmware(view: Optional[TpmView]) -> Link:
    state = _shown(view, 0)
    return Link("firmware", "Firmware", state.measured, (0,), "the firmware itself", state.why, state.advice)


def _boot_loader(facts: BootFacts, view: Optional[TpmView]) -> Link:
    if facts.layout.uefi:
        state = _shown(view, 4)
    else:
        state = _State(False, "legacy firmware measures the boot sector, not the rest of GRUB")
    return Link("boot_loader", "Boot loader", state.measured, (4,), "the firmware", state.why, state.advice)


def _shown(view: Optional[TpmView], pcr: int) -> _State:
    if view is None:
        return _State(None, _NO_TPM)
    if view.extended(pcr):
        return _State(True)
    advice = "Switch the TPM and its {} bank on in the BIOS.".format(view.bank.upper())
    return _State(False, "PCR {} is zero".format(pcr), advice)


def _launched(facts: BootFacts) -> Tuple[Link, ...]:
    """What tboot measures: the first module (Xen) into PCR 18, the others into 19, with their arguments."""
    first = Link("grub", "GRUB's commands", False, (), "", "the dynamic launch does not rest on GRUB")
    rest = (
        ("xen", _XEN, (18,)),
        ("kernel", _KERNEL, (19,)),
        ("initrd", _INITRD, (19,)),
        ("command_lines", _LINES, (18, 19)),
    )
    return (first,) + tuple(Link(name, title, True, pcrs, "tboot") for name, title, pcrs in rest)


def _by_grub(facts: BootFacts, view: Optional[TpmView]) -> Tuple[Link, ...]:
    state = _grub_state(facts, view)
    links = [Link("grub", "GRUB's commands", state.measured, (_COMMANDS, _FILES), "GRUB", *state[1:])]
    if facts.entry is not None and facts.entry.loader == "chainloader":
        return tuple(links) + _chained(view)
    for name, title, pcr in (
        ("xen", _XEN, _FILES),
        ("kernel", _KERNEL, _FILES),
        ("initrd", _INITRD, _FILES),
        ("command_lines", _LINES, _COMMANDS),
    ):
        links.append(Link(name, title, state.measured, (pcr,), "GRUB", *_briefly(state)))
    return tuple(links)


def _briefly(state: _State) -> Tuple[str, str]:
    """The links behind GRUB have GRUB's reason; its advice is told once."""
    return ("for the same reason" if state.why else "", "")


def _chained(view: Optional[TpmView]) -> Tuple[Link, ...]:
    xen = _shown(view, 4)
    why = "xen.efi reads it by itself and measures nothing"
    rest = (("kernel", _KERNEL), ("initrd", _INITRD), ("command_lines", _LINES))
    return (Link("xen", _XEN, xen.measured, (4,), "the firmware", xen.why),) + tuple(
        Link(name, title, False, (), "", why) for name, title in rest
    )


def _grub_state(facts: BootFacts, view: Optional[TpmView]) -> _State:
    extended = view is not None and view.extended(_COMMANDS, _FILES)
    if facts.measures and view is None:
        return _State(None, "the image measures, but " + _NO_TPM)
    if facts.measures:
        return _State(True) if extended else _State(False, NOT_BOOTED_YET, _RESTART)
    if extended:
        return _State(None, EXTENDED_BY_OTHERS, facts.how_to_measure)
    return _State(False, _why_not(facts), facts.how_to_measure)


def _why_not(facts: BootFacts) -> str:
    if not facts.layout.uefi:
        return "GRUB does not measure on legacy BIOS, and there was no dynamic launch"
    if facts.grub is None:
        return "no GRUB image was found"
    return "the GRUB image has no tpm module inside"


def _asset_tag(view: Optional[TpmView]) -> Link:
    by = "xentpm at boot"
    pcrs = () if view is None or view.tag_pcr is None else (view.tag_pcr,)
    if view is None:
        state = _State(None, _NO_TPM)
    elif view.tag is None:
        state = _State(False, "no asset tag is set")
    elif view.tag_pcr is None:
        state = _State(False, "switched off by asset_tag_pcr; quotes prove the tag all the same")
    else:
        behind = _State(False, "the register does not show the tag as it is now", _RESTART)
        state = _State(True) if view.tag_shown else behind
    return Link("asset_tag", "Asset tag", state.measured, pcrs, by, state.why, state.advice)
