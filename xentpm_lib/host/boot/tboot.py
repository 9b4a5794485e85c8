"""tboot: a menu entry that boots Xen by a dynamic launch, on a legacy BIOS host with Intel TXT.

The entry is a copy of the one that boots by default, with tboot in front and the SINIT module behind. It is
the last one of the menu and not the default, unless that is asked for: a machine on which TXT does not work
as it should still boots by itself.
"""

import os
from typing import List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot import durable
from xentpm_lib.host.boot.acm import MAX_ACM_SIZE, parse_sinit_module
from xentpm_lib.host.boot.layout import BootLayout
from xentpm_lib.host.boot.menu_text import menu_entries
from xentpm_lib.host.boot.preconditions import refused, require_tpm
from xentpm_lib.host.boot.setup_state import DISABLING, ENABLED, Original, Setup, State
from xentpm_lib.host.boot.tboot_entry import (
    Entry,
    chosen_default,
    default_line,
    entry_to_copy,
    made_entry,
    with_default,
    with_entry,
    without_entry,
)
from xentpm_lib.host.boot.txt import find_txt
from xentpm_lib.host.boot.xen import XenImage, find_xen
from xentpm_lib.host.paths import Paths

__all__ = ["BIOS", "METHOD", "TbootPlan", "clean_text", "disable", "enable", "plan"]

METHOD = "tboot"
BIOS = "bios"
"""In the place of a SINIT module's path: the BIOS brings its own."""
_MAXIMUM_BYTES = 4 << 20
_TBOOT = "tboot.gz"


class TbootPlan(NamedTuple):
    """What `enable` is about to do.

    config: grub.cfg, below dom0's root.
    now, original, new: its bytes as they are, before us, and with the entry.
    entry: the text that is added. sinit, default_before, default_ours: as in `Setup`.
    done: that nothing has to be changed.
    """

    config: str
    now: bytes
    original: bytes
    new: bytes
    entry: str
    sinit: str = ""
    default_before: str = ""
    default_ours: str = ""
    done: bool = False

    def diff(self, paths: Paths) -> str:
        """What would change in grub.cfg, as a unified diff; empty where nothing would."""
        import difflib

        old, new = (_text(data).splitlines() for data in (self.now, self.new))
        path = paths.at(self.config)
        return "\n".join(difflib.unified_diff(old, new, path, path + " (new)", lineterm=""))


def plan(
    paths: Paths, layout: BootLayout, setup: Optional[Setup], default: bool, sinit: Optional[str]
) -> TbootPlan:
    """What has to be done, without doing any of it.

    default, sinit: what is wished for; what an earlier `enable` was given is kept. ``sinit`` is a module's
    path, `BIOS`, or None for the one that is found.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` for a host on which it cannot work, ``XENTPM_IO``.
    """
    require_tpm(paths)
    path, now, original = _config(paths, layout, setup)
    clean = clean_text(original, setup)
    base = entry_to_copy(clean)
    xen, folder = _xen(paths, layout, base, clean)
    _require_tboot(paths, xen)
    sinit = sinit or (setup.sinit if setup else "") or None
    module = _sinit(paths, xen, sinit)
    entry = made_entry(
        base,
        os.path.join(folder, _TBOOT),
        None if module is None else os.path.join(folder, module),
    )
    text = with_entry(_text(original), entry)
    before = after = ""
    if default or (setup and setup.default_ours):
        before, after = chosen_default(text), default_line(text)
        text = with_default(text, after)
    config, done = os.path.relpath(path, paths.root), setup is not None and setup.phase == ENABLED
    made = TbootPlan(config, now, original, _bytes(text), entry, sinit or "", before, after)
    return made._replace(done=done and now == made.new)


def _config(paths: Paths, layout: BootLayout, setup: Optional[Setup]) -> Tuple[str, bytes, bytes]:
    """The path of grub.cfg, its bytes as they are, and without us.

    Where the one of the set-up is gone, that one is to be mended.
    """
    known = paths.at(setup.files[0].path) if setup else None
    path = known if known is not None and not os.path.lexists(known) else layout.config or known
    if path is None:
        raise refused("no grub.cfg was found", "Look at what `xentpm-boot probe` says.")
    now = durable.read_if_there(path, _MAXIMUM_BYTES)
    if setup and (now is None or durable.digest_of(now) == setup.newest):
        return path, now or b"", State(paths).original(setup.files[0].sha256)
    return path, now or b"", _bytes(clean_text(now or b"", setup))


def enable(paths: Paths, made: TbootPlan, setup: Optional[Setup]) -> List[str]:
    """Carry a plan out; what was done, a sentence each.

    Raises:
        XenTpmError: ``XENTPM_IO``; then grub.cfg is as it was.
    """
    path, state = paths.at(made.config), State(paths)
    if made.done:
        return ["{} has the entry: it was set up already".format(path)]
    state.make_folder()
    durable.require_space(state.folder, len(made.original), "The set-up")
    durable.require_space(os.path.dirname(path), 2 * len(made.new), "The set-up")
    begun = (setup or Setup(METHOD, ENABLED)).begun(paths, durable.digest_of(made.new))
    begun = begun._replace(
        files=(Original(made.config, durable.digest_of(made.original)),),
        entry=made.entry,
        sinit=made.sinit,
        default_before=made.default_before,
        default_ours=made.default_ours,
    )
    state.store(begun)
    state.keep(made.original)
    durable.replace(path, made.new)
    state.tidy(state.store(begun._replace(phase=ENABLED)))
    which = "by default" if made.default_ours else "when it is chosen in GRUB's menu"
    return ["{} has an entry more: the host boots by tboot {}".format(path, which)]


def disable(paths: Paths, setup: Setup) -> List[str]:
    """Take the entry out again; what was done, a sentence each.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when the original is gone and needed; ``XENTPM_IO``.
    """
    state, file = State(paths), setup.files[0]
    path = paths.at(file.path)
    now = durable.read_if_there(path, _MAXIMUM_BYTES)
    if now is None or not now.strip() or durable.digest_of(now) == setup.newest:
        wanted, told = state.original(file.sha256), "{} is as it was before".format(path)
    else:
        wanted, told = _bytes(clean_text(now, setup)), "{} is without our entry".format(path)
        if wanted == now:
            told = "{} had no entry of ours: it is left as it is".format(path)
    durable.require_space(os.path.dirname(path), len(wanted), "Changing {}".format(path))
    state.store(setup._replace(phase=DISABLING))
    if wanted != now:
        durable.replace(path, wanted)
    state.forget()
    return [told]


def clean_text(data: bytes, setup: Optional[Setup]) -> str:
    """The configuration without what we did to it.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when that cannot be told from what others did.
    """
    text = without_entry(_text(data), setup.entry if setup else "")
    if setup and setup.default_ours and chosen_default(text) == setup.default_ours:
        text = with_default(text, setup.default_before)
    return text


def _xen(paths: Paths, layout: BootLayout, base: Entry, text: str) -> Tuple[XenImage, str]:
    """The Xen that the entry to be copied boots, and the folder that GRUB finds it in."""
    entry = next((one for one in menu_entries(text) if one.title == base.title), None)
    xen = find_xen(paths, layout, entry)
    if entry is None or entry.xen is None or xen is None:
        raise refused(
            "the entry that boots by default boots no Xen that can be found",
            "Look at what `xentpm-boot probe` says.",
        )
    return xen, os.path.dirname(entry.xen)


def _require_tboot(paths: Paths, xen: XenImage) -> None:
    if not xen.tboot:
        what = "is built without tboot support" if xen.tboot is False else "does not tell about tboot support"
        raise refused(
            "{} {}".format(xen.path, what),
            "tboot needs a Xen with CONFIG_TBOOT. A host that boots by UEFI is measured without tboot: "
            "install it again with UEFI.",
        )
    smx = find_txt(paths).smx
    if not smx:
        what = "has no SMX, or it is switched off" if smx is False else "cannot be asked for SMX"
        raise refused(
            "the processor of this host {}".format(what),
            "Enable Intel TXT (and VT-d) in the BIOS; `xl info` shows the processor's features.",
        )
    if not os.path.isfile(os.path.join(os.path.dirname(xen.path), _TBOOT)):
        raise refused(
            "there is no {} beside {}".format(_TBOOT, xen.path), "Install the package tboot, then call again."
        )


def _sinit(paths: Paths, xen: XenImage, wanted: Optional[str]) -> Optional[str]:
    """The name of the SINIT module beside Xen; None where the BIOS brings its own."""
    if wanted == BIOS:
        return None
    folder = os.path.dirname(xen.path)
    path = wanted or find_txt(paths).sinit
    if path is None:
        raise refused(
            "no SINIT module for this machine was found in {}".format(folder),
            "Copy Intel's for this chipset to {} and give it with --sinit FILE, or say --sinit {} where the "
            "BIOS brings its own, as most servers since 2016.".format(folder, BIOS),
        )
    try:
        parse_sinit_module(durable.read(path, MAX_ACM_SIZE))
    except FormatError as error:
        raise refused("{} is no SINIT module: {}".format(path, error), "Give Intel's file.") from error
    if os.path.realpath(os.path.dirname(os.path.abspath(path))) != os.path.realpath(folder):
        raise refused("{} is not where GRUB finds Xen".format(path), "Copy it to {}.".format(folder))
    return os.path.basename(path)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
