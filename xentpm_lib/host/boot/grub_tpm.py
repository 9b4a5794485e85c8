"""grub-tpm: a GRUB image that measures, in the place of the stock image that does not.

Firmware measures the image as a whole into PCR 4; the ``tpm`` module inside then measures every command into
PCR 8 and every file that GRUB reads into PCR 9. The order of what is written is what makes a kill harmless:
first ``setup.json`` says which bytes may appear, then the originals are kept twice, then each image is
replaced in one step.
"""

import os
from contextlib import suppress
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError, XenTpmError
from xentpm_lib.host.boot import durable
from xentpm_lib.host.boot.boot_entry import add_entry, entry_tool, remove_entries
from xentpm_lib.host.boot.grub_image import GrubImage, parse_grub_image
from xentpm_lib.host.boot.image_build import build_image
from xentpm_lib.host.boot.image_modules import wanted_modules
from xentpm_lib.host.boot.layout import BootLayout, read_grub_image
from xentpm_lib.host.boot.preconditions import (
    refused,
    require_esp,
    require_secure_boot_off,
    require_tools,
    require_tpm,
)
from xentpm_lib.host.boot.setup_state import DISABLING, ENABLED, Original, Setup, State
from xentpm_lib.host.paths import Paths

__all__ = ["METHOD", "SPARE_ENDING", "Plan", "disable", "enable", "plan"]

METHOD = "grub-tpm"
SPARE_ENDING = "-stock.efi"
_SCRATCH = "image"


class Plan(NamedTuple):
    """What `enable` is about to do.

    image: the file that boots.
    files: all that are replaced, with the SHA-256 of their originals, that one first.
    spare: where the original is kept on the ESP. modules, added: of the new image.
    stock: the image that is rebuilt. done: that all of it is there already.
    nothing: why there is nothing to do at all; empty where there is.
    All paths are below dom0's root.
    """

    image: str
    files: Tuple[Original, ...] = ()
    spare: str = ""
    modules: Tuple[str, ...] = ()
    added: Tuple[str, ...] = ()
    stock: bytes = b""
    done: bool = False
    nothing: str = ""


def plan(paths: Paths, layout: BootLayout, setup: Optional[Setup]) -> Plan:
    """What has to be done, without doing any of it.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` for a host on which it cannot work, ``XENTPM_IO``.
    """
    require_tpm(paths)
    require_esp(layout)
    image = _image(paths, layout)
    content, found = durable.read(image), read_grub_image(image)
    ours = _is_ours(content, setup)
    if found is None:
        raise refused("{} is no GRUB image".format(image), "Look at what `xentpm-boot probe` says.")
    if found.measures and not ours:
        return Plan(_relative(paths, image), nothing="{} measures already{}".format(image, _left(image)))
    require_secure_boot_off(paths)
    require_tools(layout)
    spare = paths.at(setup.spare) if setup and setup.spare else os.path.splitext(image)[0] + SPARE_ENDING
    _require_name(spare, setup)
    files = tuple(_files(paths, layout, setup, image))
    original = State(paths).original(files[0].sha256, setup.spare) if ours and setup else content
    wanted = wanted_modules(paths, str(layout.modules), _parsed(original).modules, layout.config)
    made = Plan(files[0].path, files, _relative(paths, spare), wanted.modules, wanted.added, original)
    return made._replace(done=set(wanted.modules) <= set(found.modules) and _in_place(paths, made, setup))


def enable(paths: Paths, layout: BootLayout, made: Plan, setup: Optional[Setup]) -> List[str]:
    """Carry a plan out; what was done, a sentence each.

    Raises:
        XenTpmError: ``XENTPM_BOOT``, ``XENTPM_IO``; then what was there before is back, or calling again
            goes on from there.
    """
    if made.nothing:
        return [made.nothing]
    if made.done:
        told = ["{} measures: it was set up already".format(paths.at(made.image))]
        return told + [_add_entry(paths, str(layout.esp), paths.at(made.spare))]
    try:
        return _put_in_place(paths, layout, made, setup)
    except XenTpmError:
        if setup is None:
            with suppress(XenTpmError):  # the first failure is the one to tell
                _go_back(paths)
        raise


def _put_in_place(paths: Paths, layout: BootLayout, made: Plan, setup: Optional[Setup]) -> List[str]:
    state = State(paths)
    originals = _originals(paths, made, setup)
    state.make_folder()
    size = sum(map(len, originals.values()))
    durable.require_space(state.folder, size + 4 * len(made.stock), "The set-up")
    durable.require_space(str(layout.esp), 3 * len(made.stock), "The set-up")
    image = build_image(
        str(layout.mkimage), str(layout.modules), _parsed(made.stock), made.modules, state.file(_SCRATCH)
    )
    growth = sum(max(0, len(image) - len(originals[file.sha256])) for file in made.files)
    durable.require_space(str(layout.esp), len(made.stock) + growth + len(image), "The set-up")
    begun = (setup or Setup(METHOD, ENABLED))._replace(method=METHOD, files=made.files, spare=made.spare)
    begun = state.store(begun.begun(paths, durable.digest_of(image)))
    for data in originals.values():
        state.keep(data)
    durable.replace(paths.at(made.spare), made.stock)
    told = ["The stock image is kept: {}".format(paths.at(made.spare))]
    told.append(_add_entry(paths, str(layout.esp), paths.at(made.spare)))
    for file in made.files:
        durable.replace(paths.at(file.path), image)
        told.append("{} measures now".format(paths.at(file.path)))
    state.tidy(state.store(begun._replace(phase=ENABLED)))
    return told


def disable(paths: Paths, setup: Setup) -> List[str]:
    """Put every original back where our image stands; what was done, a sentence each.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when an original is gone, before anything is changed; ``XENTPM_IO``.
    """
    state, told = State(paths), []  # type: State, List[str]
    originals = {}
    for file in setup.files:
        if _is_ours(durable.read_if_there(paths.at(file.path)), setup):
            originals[file.path] = state.original(file.sha256, setup.spare)
    for path, data in originals.items():
        folder = os.path.dirname(paths.at(path))
        durable.require_space(folder, len(data), "Putting {} back".format(paths.at(path)))
    state.store(setup._replace(phase=DISABLING))
    for file in setup.files:
        told.append(_put_back(paths, file, originals.get(file.path)))
    told += _remove_entry(paths)
    if setup.spare:
        durable.remove(paths.at(setup.spare))
    state.forget()
    return told


def _put_back(paths: Paths, file: Original, original: Optional[bytes]) -> str:
    path = paths.at(file.path)
    if original is not None:
        durable.replace(path, original)
        return "{} is the stock image again".format(path)
    data = durable.read_if_there(path)
    if data is None:
        return "{} is gone: nothing was put there".format(path)
    if durable.digest_of(data) == file.sha256:
        return "{} was the stock image already".format(path)
    return "{} was replaced since, by an update it seems: it is left as it is".format(path)


def _go_back(paths: Paths) -> None:
    """After a failure of the first `enable`: nothing of ours stays."""
    state = State(paths)
    setup = state.load()
    if setup is None:
        state.forget()
    else:
        disable(paths, setup)


def _image(paths: Paths, layout: BootLayout) -> str:
    """The image that boots by default: not the spare one, even when this boot came from it."""
    image = layout.image
    if image is None:
        raise refused(
            "no GRUB image was found on {}".format(layout.esp),
            "Check that this is the partition that the host boots from: xentpm-boot probe.",
        )
    if image.lower().endswith(SPARE_ENDING):
        image = next((one for one in _beside(image) if os.path.isfile(one)), image)
    return image


def _beside(spare: str) -> Tuple[str, ...]:
    return tuple(spare[: -len(SPARE_ENDING)] + ending for ending in (".efi", ".EFI"))


def _files(paths: Paths, layout: BootLayout, setup: Optional[Setup], image: str) -> Iterator[Original]:
    """What is replaced: the image, its copies, and what was replaced before unless it is another's by now."""
    before = [paths.at(file.path) for file in setup.files] if setup else []
    first = durable.digest_of(durable.read(image))
    if setup and first in setup.ours:
        known = setup.original(_relative(paths, image))
        first = known.sha256 if known else setup.files[0].sha256
    for path in dict.fromkeys([image, *layout.copies, *before]):
        data = durable.read_if_there(path)
        if data is None or path.lower().endswith(SPARE_ENDING):
            continue
        known = setup.original(_relative(paths, path)) if setup else None
        sha256 = durable.digest_of(data)
        if _is_ours(data, setup):
            yield Original(_relative(paths, path), known.sha256 if known else first)
        elif path == image or path in layout.copies or (known and known.sha256 == sha256):
            yield Original(_relative(paths, path), sha256)


def _originals(paths: Paths, made: Plan, setup: Optional[Setup]) -> Dict[str, bytes]:
    """The originals by their SHA-256, of which none may be missing."""
    found = {}
    for file in made.files:
        data = durable.read(paths.at(file.path))
        if durable.digest_of(data) != file.sha256:
            data = State(paths).original(file.sha256, setup.spare if setup else "")
        found[file.sha256] = data
    return found


def _in_place(paths: Paths, made: Plan, setup: Optional[Setup]) -> bool:
    if setup is None or setup.phase != ENABLED or setup.files != made.files:
        return False
    there = {durable.digest_of(durable.read(paths.at(file.path))) for file in made.files}
    return there == {setup.newest} and durable.read_if_there(paths.at(made.spare)) == made.stock


def _require_name(spare: str, setup: Optional[Setup]) -> None:
    """Nobody else's file may have the spare image's name; a stock image left by an earlier set-up may."""
    if setup is not None or not os.path.lexists(spare):
        return
    found = read_grub_image(spare)
    if found is None or found.measures:
        raise refused("{} is there already, and is no stock GRUB image".format(spare), "Move it away.")


def _left(image: str) -> str:
    """Where an earlier set-up, whose state is gone, left the stock image."""
    spare = os.path.splitext(image)[0] + SPARE_ENDING
    return ". An earlier stock image lies in {}".format(spare) if os.path.isfile(spare) else ""


def _add_entry(paths: Paths, esp: str, spare: str) -> str:
    tool = entry_tool(paths)
    if tool is None:
        return "There is no efibootmgr on this host: the firmware has no boot entry for the stock image"
    try:
        return "The firmware can start the stock image: {}".format(add_entry(paths, tool, esp, spare))
    except XenTpmError as error:
        return "The firmware has no boot entry for the stock image: {}".format(error.message)


def _remove_entry(paths: Paths) -> List[str]:
    tool = entry_tool(paths)
    try:
        removed = remove_entries(tool) if tool else ()
    except XenTpmError as error:
        return ["The boot entry of the stock image may still be there: {}".format(error.message)]
    return ["Boot entry Boot{} is removed".format(number) for number in removed]


def _parsed(data: bytes) -> GrubImage:
    try:
        return parse_grub_image(data)
    except FormatError as error:
        raise refused("the stock image cannot be read: {}".format(error), "Report it.") from error


def _is_ours(data: Optional[bytes], setup: Optional[Setup]) -> bool:
    return data is not None and setup is not None and durable.digest_of(data) in setup.ours


def _relative(paths: Paths, path: str) -> str:
    return os.path.relpath(path, paths.root)
