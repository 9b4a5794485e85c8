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
from xentpm_lib.host.boot.esp import esp_id
from xentpm_lib.host.boot.grub_image import GrubImage, parse_grub_image
from xentpm_lib.host.boot.image_build import build_image, is_efi_program
from xentpm_lib.host.boot.image_modules import wanted_modules
from xentpm_lib.host.boot.layout import BootLayout, read_grub_image
from xentpm_lib.host.boot.preconditions import (
    refused,
    require_esp,
    require_own_disk,
    require_same_esp,
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
_REMOVABLE, _VENDORS = "efi/boot", ("efi/xenserver", "efi/xcp-ng")
_NAMES = ("grubx64.efi", "grub.efi", "bootx64.efi")


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
    esp = require_esp(layout)
    if setup is not None:
        require_same_esp(paths, setup)
    require_own_disk(paths, esp)
    image = _image(paths, layout, setup)
    content, found = durable.read_if_there(image), read_grub_image(image)
    mine = setup if content is None or _is_ours(content, setup) else None
    if content is not None and found is None:
        raise refused("{} is no GRUB image".format(image), "Look at what `xentpm-boot probe` says.")
    if found is not None and found.measures and mine is None:
        return Plan(_relative(paths, image), nothing="{} measures already{}".format(image, _left(image)))
    require_secure_boot_off(paths)
    require_tools(layout)
    spare = paths.at(setup.spare) if setup and setup.spare else os.path.splitext(image)[0] + SPARE_ENDING
    _require_name(spare, setup)
    files = tuple(_files(paths, layout, setup, image, content))
    original = State(paths).original(files[0].sha256, mine.spare) if mine else content or b""
    wanted = wanted_modules(paths, str(layout.modules), _parsed(original).modules, layout.config)
    made = Plan(files[0].path, files, _relative(paths, spare), wanted.modules, wanted.added, original)
    complete = found is not None and set(wanted.modules) <= set(found.modules)
    return made._replace(done=complete and _in_place(paths, made, setup))


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
    esp = str(layout.esp)
    begun = (setup or Setup(METHOD, ENABLED))._replace(
        files=made.files, spare=made.spare, esp=_relative(paths, esp), esp_id=esp_id(paths, esp)
    )
    begun = state.store(begun.begun(paths, durable.digest_of(image)))
    for data in originals.values():
        state.keep(data)
    for path in [made.spare] + [file.path for file in made.files]:
        _make_folder(paths.at(path))
    durable.replace(paths.at(made.spare), made.stock)
    told = ["The stock image is kept: {}".format(paths.at(made.spare))]
    told.append(_add_entry(paths, str(layout.esp), paths.at(made.spare)))
    for file in made.files:
        durable.replace(paths.at(file.path), image)
        told.append("{} measures now".format(paths.at(file.path)))
    state.tidy(state.store(begun._replace(phase=ENABLED)))
    return told


def disable(paths: Paths, setup: Setup) -> List[str]:
    """Put every original back where our image stands, or nothing that boots; what was done, a sentence each.

    The kept originals go last, and only when every file is an original or somebody else's program again.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when an original is gone, or the ESP is not the one of the set-up, before
            anything is changed; ``XENTPM_IO``.
    """
    require_same_esp(paths, setup)
    _require_traces(paths, setup)
    state = State(paths)
    originals = {}
    for file in setup.files:
        data = durable.read_if_there(paths.at(file.path))
        if data is None or _is_ours(data, setup) or not (_is_original(data, file) or is_efi_program(data)):
            originals[file.path] = state.original(file.sha256, setup.spare)
    for path, data in originals.items():
        _make_folder(paths.at(path))
        durable.require_space(
            os.path.dirname(paths.at(path)), len(data), "Putting {} back".format(paths.at(path))
        )
    state.store(setup._replace(phase=DISABLING))
    told = [_put_back(paths, file, originals.get(file.path)) for file in setup.files]
    told += _remove_entry(paths, setup)
    if setup.spare:
        durable.remove(paths.at(setup.spare))
    state.forget()
    return told


def _require_traces(paths: Paths, setup: Setup) -> None:
    """Raises: XenTpmError ``XENTPM_BOOT`` for an ESP on which nothing of the set-up is: it is another one."""
    if setup.phase != ENABLED or not setup.spare or os.path.lexists(paths.at(setup.spare)):
        return
    for file in setup.files:
        data = durable.read_if_there(paths.at(file.path))
        if _is_ours(data, setup) or (data is not None and _is_original(data, file)):
            return
    raise refused(
        "neither the images of the set-up nor {} are there: is this the partition that the host boots "
        "from?".format(paths.at(setup.spare)),
        "Mount the right one. If this is it, have all of it mended first: xentpm-boot enable, then "
        "xentpm-boot disable.",
    )


def _put_back(paths: Paths, file: Original, original: Optional[bytes]) -> str:
    path = paths.at(file.path)
    if original is not None:
        there = os.path.lexists(path)
        durable.replace(path, original)
        return "{} {}".format(path, "is the stock image again" if there else "was gone: it is there again")
    if _is_original(durable.read(path), file):
        return "{} was the stock image already".format(path)
    return "{} was replaced since, by an update it seems: it is left as it is".format(path)


def _make_folder(path: str) -> None:
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise XenTpmError(
            "cannot make {}: {}".format(folder, error.strerror), "Check the file system.", "XENTPM_IO"
        ) from error


def _go_back(paths: Paths) -> None:
    """After a failure of the first `enable`: nothing of ours stays."""
    state = State(paths)
    setup = state.load()
    if setup is None:
        state.forget()
    else:
        disable(paths, setup)


def _image(paths: Paths, layout: BootLayout, setup: Optional[Setup]) -> str:
    """The image that boots by default: not the spare one, even when this boot came from it.

    Where the one of the set-up is gone, that one is to be mended, whatever else was found.
    """
    known = paths.at(setup.files[0].path) if setup else None
    if known is not None and not os.path.lexists(known):
        return known
    image = layout.image
    if image is None:
        if known is not None:
            return known
        raise refused(
            "no GRUB image was found on {}".format(layout.esp),
            "Check that this is the partition that the host boots from: xentpm-boot probe.",
        )
    if image.lower().endswith(SPARE_ENDING):
        image = next((one for one in _beside(image) if os.path.isfile(one)), image)
    return image


def _beside(spare: str) -> Tuple[str, ...]:
    return tuple(spare[: -len(SPARE_ENDING)] + ending for ending in (".efi", ".EFI"))


def _files(
    paths: Paths, layout: BootLayout, setup: Optional[Setup], image: str, data: Optional[bytes]
) -> Iterator[Original]:
    """What is replaced: the image, its copies, and what was replaced before unless it is another's by now."""
    before = [paths.at(file.path) for file in setup.files] if setup else []
    copies = [path for path in layout.copies if _starts_hosts(str(layout.esp), path, image)]
    first = durable.digest_of(data) if data is not None else ""
    if setup and (data is None or first in setup.ours):
        known = setup.original(_relative(paths, image))
        first = known.sha256 if known else setup.files[0].sha256
    for path in dict.fromkeys([image, *copies, *before]):
        if path.lower().endswith(SPARE_ENDING):
            continue
        data, known = durable.read_if_there(path), setup.original(_relative(paths, path)) if setup else None
        if data is None or _is_ours(data, setup):
            yield Original(_relative(paths, path), known.sha256 if known else first)
        elif path == image or path in copies or (known and _is_original(data, known)):
            yield Original(_relative(paths, path), durable.digest_of(data))


def _starts_hosts(esp: str, path: str, image: str) -> bool:
    """Whether firmware starts a host by this path, as it does the image: no copy that somebody put aside."""
    folder, name = os.path.split(os.path.relpath(path, esp).lower())
    own = os.path.dirname(os.path.relpath(image, esp).lower())
    folders = {own, _REMOVABLE} if own != _REMOVABLE else {own, *_VENDORS}
    return folder in folders and name in _NAMES


def _originals(paths: Paths, made: Plan, setup: Optional[Setup]) -> Dict[str, bytes]:
    """The originals by their SHA-256, of which none may be missing."""
    found = {}
    for file in made.files:
        data = durable.read_if_there(paths.at(file.path))
        if data is None or not _is_original(data, file):
            data = State(paths).original(file.sha256, setup.spare if setup else "")
        found[file.sha256] = data
    return found


def _in_place(paths: Paths, made: Plan, setup: Optional[Setup]) -> bool:
    if setup is None or setup.phase != ENABLED or setup.files != made.files:
        return False
    there = [durable.read_if_there(paths.at(file.path)) for file in made.files]
    if not all(data is not None and durable.digest_of(data) == setup.newest for data in there):
        return False
    return durable.read_if_there(paths.at(made.spare)) == made.stock


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


def _remove_entry(paths: Paths, setup: Setup) -> List[str]:
    tool = entry_tool(paths)
    file = os.path.relpath(setup.spare, setup.esp) if setup.spare and setup.esp else ""
    try:
        removed = remove_entries(tool, file) if tool and file else ()
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


def _is_original(data: bytes, file: Original) -> bool:
    return durable.digest_of(data) == file.sha256


def _relative(paths: Paths, path: str) -> str:
    return os.path.relpath(path, paths.root)
