"""A GRUB image made by GRUB's own tool, and looked at again before anything boots from it."""

import os
import struct
from typing import List, Sequence, Tuple

from xentpm_lib.errors import FormatError, XenTpmError
from xentpm_lib.host.boot import durable
from xentpm_lib.host.boot.grub_image import GrubImage, parse_grub_image
from xentpm_lib.host.boot.image_modules import MEASURING

__all__ = ["build_image", "check_image", "is_efi_program"]

_TOOL_LIMIT_S = 120
_MAXIMUM_BYTES = 32 << 20
_MOST_SAID = 300  # characters
_X86_64, _EFI_APPLICATION = 0x8664, 10


def build_image(
    tool: str, modules_folder: str, stock: GrubImage, modules: Sequence[str], scratch: str
) -> bytes:
    """An image with ``modules`` and the stock image's prefix and own configuration.

    scratch: the path of a file that can be made, with others beside it; all are removed again.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when the tool fails or made something else; ``XENTPM_IO``.
    """
    inputs = [("-c", "config", stock.config), ("-m", "memdisk", stock.memdisk)]
    command = [tool, "-O", "x86_64-efi", "-d", modules_folder]
    made = [scratch]
    try:
        for option, ending, content in inputs:
            if content is not None:
                path = "{}.{}".format(scratch, ending)
                made.append(path)
                durable.replace(path, content)
                command += [option, path]
        _run(command + ["-p", stock.prefix, "-o", scratch] + list(modules))  # -m changes the prefix
        data = durable.read_if_there(scratch, _MAXIMUM_BYTES)
        if data is None:
            raise _tool_failed(tool, "it ended well and wrote nothing")
    finally:
        for path in made:
            durable.remove(path)
    check_image(data, modules_folder, stock, modules)
    return data


def check_image(data: bytes, modules_folder: str, stock: GrubImage, modules: Sequence[str]) -> None:
    """Look at an image before it becomes the default.

    1. It is a PE program for UEFI on x86-64, at most 32 MiB.
    2. It is a GRUB image that measures.
    3. Its prefix, configuration and memdisk are the stock image's.
    4. Every module that was asked for is inside.
    5. Each module inside has the bytes of the folder's file.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` with what is wrong.
    """
    # 1
    if len(data) > _MAXIMUM_BYTES or not is_efi_program(data):
        raise _wrong("it is no UEFI program for this machine")
    # 2
    try:
        image = parse_grub_image(data)
    except FormatError as error:
        raise _wrong("it cannot be read: {}".format(error)) from error
    if not image.measures:
        raise _wrong("the module {} is not inside".format(MEASURING))
    # 3
    for name in ("prefix", "config", "memdisk"):
        if getattr(image, name) != getattr(stock, name):
            raise _wrong("its {} is not the stock image's".format(name))
    # 4
    missing = [name for name in modules if name not in image.modules]
    if missing:
        raise _wrong("modules are missing: {}".format(", ".join(missing)))
    # 5
    for name in image.modules:
        if durable.read(os.path.join(modules_folder, name + ".mod")) not in data:
            raise _wrong("the module {} is not that of {}".format(name, modules_folder))


def is_efi_program(data: bytes) -> bool:
    """Whether UEFI on x86-64 takes this for a program."""
    return _machine(data) == (_X86_64, _EFI_APPLICATION)


def _machine(data: bytes) -> Tuple[int, int]:
    """The machine that a PE program is for, and the subsystem that starts it; zeros for none."""
    try:
        start = struct.unpack_from("<I", data, 0x3C)[0]
        if data[:2] != b"MZ" or data[start : start + 4] != b"PE\0\0":
            return (0, 0)
        machine, subsystem = (
            struct.unpack_from("<H", data, start + 4),
            struct.unpack_from("<H", data, start + 24 + 68),
        )
        return (machine[0], subsystem[0])
    except struct.error:
        return (0, 0)


def _run(command: List[str]) -> None:
    import subprocess

    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            timeout=_TOOL_LIMIT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _tool_failed(command[0], str(error)) from error
    if done.returncode:
        raise _tool_failed(command[0], _last_line(done.stdout))


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[-_MOST_SAID:] if lines else "it said nothing"


def _tool_failed(tool: str, reason: str) -> XenTpmError:
    return XenTpmError(
        "{} made no image: {}".format(tool, reason),
        "Check that GRUB's tools and modules are of one package. The host boots as before.",
        "XENTPM_BOOT",
    )


def _wrong(reason: str) -> XenTpmError:
    return XenTpmError(
        "the new GRUB image is not used: {}".format(reason),
        "Check that GRUB's tools and modules are of one package. The host boots as before.",
        "XENTPM_BOOT",
    )
