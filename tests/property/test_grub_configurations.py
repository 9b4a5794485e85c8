"""Any bytes as boot configuration, ``grubenv`` or module: a prediction or XenTpmError, in bounded time."""

import os
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.boot_log import boot_log_from_json, boot_log_to_json
from xentpm_lib.host.boot.grub_env import block_variables, with_variable
from xentpm_lib.host.boot.grub_modules import dependencies
from xentpm_lib.host.boot.prediction import predict
from xentpm_lib.host.paths import Paths

WORDS = (
    "if while until for in do done then else elif fi function menuentry submenu { } ; \n [ ] ! = "
    '-s -f -a -o ( ) true false set unset export x=1 x=$x$x $x "$x" \'\' ${x} $? $1 $@ "$*" '
    "default=0 default=1>0 fallback=0 timeout=5 search --label --set root --file /boot/a "
    "multiboot2 module2 linux initrd /boot/xen.gz boot echo load_env save_env source configfile "
    "normal $prefix/grub.cfg break continue return shift setparams insmod # \\ \" ' \\$ *"
).split(" ")
SCRIPTS = st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join).map(str.encode)


def _dom0(folder, config, block=b""):
    esp = os.path.join(folder, "boot/efi/EFI/xenserver")
    for path in (esp, os.path.join(folder, "sys/firmware/efi")):
        os.makedirs(path)
    for path, content in (
        (esp + "/grub.cfg", config),
        (esp + "/grubenv", block),
        (folder + "/boot/xen.gz", b"x"),
    ):
        with open(path, "wb") as file:
            file.write(content)
    return Paths(folder, folder + "/config")


def _predicts_or_refuses(config, block=b""):
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = predict(_dom0(folder, config, block), ["sha256"])
        except XenTpmError as error:
            assert error.code == "XENTPM_BOOT"
        else:
            assert found.events
            assert boot_log_from_json(boot_log_to_json(found.events), "log") == found.events


@given(st.binary(max_size=300))
def test_any_bytes(config):
    _predicts_or_refuses(config)


@given(SCRIPTS)
@settings(max_examples=300)
def test_any_words(config):
    _predicts_or_refuses(config)


@given(SCRIPTS)
def test_any_words_before_an_entry(config):
    _predicts_or_refuses(config + b"\nmenuentry a {\n multiboot2 /boot/xen.gz\n}\n")


@given(st.binary(max_size=200))
def test_any_environment_block(data):
    block = b"# GRUB Environment Block\n" + data
    _predicts_or_refuses(
        b"load_env\nsave_env a\nload_env\nmenuentry a {\n multiboot2 /boot/xen.gz\n}\n", block
    )
    assert len(with_variable(block, "a", "b\\\n")) == len(block)
    assert all(isinstance(name, str) for name, _ in block_variables(block) or ())


@given(st.binary(max_size=400))
def test_any_module(data):
    for module in (data, b"\x7fELF\x02" + data):
        try:
            dependencies(module)
        except XenTpmError as error:
            assert error.code == "XENTPM_BOOT"
