"""Which module of GRUB has which command, and what a module needs."""

from typing import Dict, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot.grub_syntax import boot_error

__all__ = ["COMMAND_MODULES", "OTHER_COMMANDS", "dependencies", "read_terminals"]

#: command: module; those of the kernel itself and of ``normal`` are not here
COMMAND_MODULES = {
    "[": "test",
    "test": "test",
    "true": "true",
    "false": "true",
    "echo": "echo",
    "search": "search",
    "search.file": "search_fs_file",
    "search.fs_label": "search_label",
    "search.fs_uuid": "search_fs_uuid",
    "load_env": "loadenv",
    "save_env": "loadenv",
    "list_env": "loadenv",
    "source": "configfile",
    ".": "configfile",
    "configfile": "configfile",
    "multiboot": "multiboot",
    "module": "multiboot",
    "multiboot2": "multiboot2",
    "module2": "multiboot2",
    "linux": "linux",
    "initrd": "linux",
    "linuxefi": "linuxefi",
    "initrdefi": "linuxefi",
    "chainloader": "chain",
    "boot": "boot",
    "loadfont": "font",
    "background_image": "gfxterm_background",
    "serial": "serial",
    "terminal_input": "terminal",
    "terminal_output": "terminal",
    "sleep": "sleep",
    "fwsetup": "efifwsetup",
    "play": "play",
}

#: the other commands of GRUB 2.06, from its own command.lst
OTHER_COMMANDS = frozenset(
    """
    acpi all_functional_test appleloader authenticate background_color backtrace badram blocklist
    cat cbmemc cmp coreboot_boottime cpuid crc cryptomount cutmem date distrust dump eval exit
    extract_entries_configfile extract_entries_source extract_legacy_entries_configfile
    extract_legacy_entries_source extract_syslinux_entries_configfile
    extract_syslinux_entries_source fakebios file fix_video functional_test gettext gptsync halt
    hashsum hdparm hello help hexdump hexdump_random inb initrd16 inl inw keymap keystatus kfreebsd
    kfreebsd_loadenv kfreebsd_module kfreebsd_module_elf knetbsd knetbsd_module knetbsd_module_elf
    kopenbsd kopenbsd_ramdisk legacy_check_password legacy_configfile legacy_initrd
    legacy_initrd_nounzip legacy_kernel legacy_password legacy_source linux16 list_env list_trusted
    loadbios loopback ls lsacpi lscoreboot lsefi lsefimmap lsefisystab lsfonts lsmmap lsmod lspci
    lssal macppcbless mactelbless md5sum nativedisk net_add_addr net_add_dns net_add_route net_bootp
    net_bootp6 net_del_addr net_del_dns net_del_route net_dhcp net_get_dhcp_option net_ipv6_autoconf
    net_ls_addr net_ls_cards net_ls_dns net_ls_routes net_nslookup normal_exit outb outl outw
    parttool pcidump probe rdmsr read read_byte read_dword read_word reboot regexp rmmod setpci
    sha1sum sha256sum sha512sum smbios syslinux_configfile syslinux_source terminfo test_blockarg
    testload testspeed time tr trust usb verify_detached videoinfo videotest write_byte write_dword
    write_word wrmsr xnu_devprop_load xnu_kernel xnu_kernel64 xnu_kext xnu_kextdir xnu_mkext
    xnu_ramdisk xnu_resume xnu_splash xnu_uuid zfs-bootfs zfsinfo zfskey
    """.split()
)


def dependencies(module: bytes) -> Tuple[str, ...]:
    """The modules that a module (ELF-64) needs, in the order in which GRUB loads them.

    Raises:
        XenTpmError: it is no such module.
    """
    try:
        return _dependencies(module)
    except (FormatError, ValueError, IndexError, OverflowError) as error:
        raise boot_error("a GRUB module is damaged: {}".format(error)) from error


def read_terminals(data: bytes) -> Dict[str, str]:
    """What ``terminal.lst`` says: ``i`` for input or ``o`` for output, and a terminal's name: its module."""
    pairs = [line.partition(":")[::2] for line in data.decode("latin-1").split("\n") if ":" in line]
    return {name.strip(): module.strip() for name, module in pairs}


def _dependencies(module: bytes) -> Tuple[str, ...]:
    if module[:5] != b"\x7fELF\x02":
        raise ValueError("no 64-bit ELF")
    start, size = _number(module, 0x28, 8), _number(module, 0x3A, 2)
    count, names = _number(module, 0x3C, 2), _number(module, 0x3E, 2)
    strings = _number(module, start + names * size + 0x18, 8)
    for index in range(count):
        header = start + index * size
        name = strings + _number(module, header, 4)
        if module[name : name + 9] == b".moddeps\0":
            offset, length = _number(module, header + 0x18, 8), _number(module, header + 0x20, 8)
            return tuple(
                part.decode("ascii") for part in module[offset : offset + length].split(b"\0") if part
            )
    return ()


def _number(data: bytes, offset: int, size: int) -> int:
    if offset + size > len(data):
        raise ValueError("it ends too early")
    return int.from_bytes(data[offset : offset + size], "little")
