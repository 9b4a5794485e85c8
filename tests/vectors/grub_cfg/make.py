"""Write the grub.cfg texts beside this file: python3 tests/vectors/grub_cfg/make.py"""

from pathlib import Path

HERE = Path(__file__).resolve().parent
SERIAL = "serial --unit=0 --speed=115200\nterminal_input serial console\nterminal_output serial console\n"
START = "set default=0\nset timeout=5\n"
#: what xcp.bootloader puts before the first entry when it writes a configuration that it has read
REWRITTEN = """\
if [ -s $prefix/grubenv ]; then
\tload_env
fi

if [ -n "$override_entry" ]; then
\tset default=$override_entry
fi

"""
SAFE = (
    "nosmp noreboot noirqbalance no-mce no-bootscrub no-numa no-hap no-mmcfg iommu=off max_cstate=0"
    " nmi=ignore allow_unsafe "
)
LINUX = "root=LABEL={label} ro nolvm hpet=disable console=hvc0 console=tty0"
QUIET = " quiet vga=785 splash plymouth.ignore-serial-consoles"


def entry(title, label, xen, linux, kernel, initrd):
    return (
        "menuentry '{}' {{\n\tsearch --label --set root {}\n\tmultiboot2 {}\n"
        "\tmodule2 {} {}\n\tmodule2 {}\n}}\n"
    ).format(title, label, xen, kernel, linux, initrd)


def menu(brand, label, xen, linux, memory):
    common = "dom0_mem={0}M,max:{0}M ".format(memory)
    usual = common + "watchdog ucode=scan dom0_max_vcpus=1-16 crashkernel=256M,below=4G"
    files = ("/boot/vmlinuz-4.19-xen", "/boot/initrd-4.19-xen.img")
    kernel = LINUX.format(label=label)
    serial = "com1=115200,8n1 console=com1,vga "
    text = entry(
        brand, label, "/boot/xen.gz " + usual + " console=vga vga=mode-0x0311", kernel + QUIET, *files
    )
    text += entry(
        brand + " (Serial)",
        label,
        "/boot/xen.gz " + serial + usual,
        kernel.replace("hvc0 console=tty0", "tty0 console=hvc0"),
        *files,
    )
    text += entry(
        brand + " in Safe Mode",
        label,
        "/boot/xen.gz " + SAFE + serial + common + "crashkernel=256M,below=4G",
        "earlyprintk=xen "
        + kernel.replace(" hpet=disable", "").replace("hvc0 console=tty0", "tty0 console=hvc0"),
        *files,
    )
    fallback = ("/boot/vmlinuz-fallback", "/boot/initrd-fallback.img")
    text += entry(
        "{} (Xen {} / Linux {})".format(brand, xen, linux),
        label,
        "/boot/xen-fallback.gz " + usual,
        kernel,
        *fallback,
    )
    text += entry(
        "{} (Serial, Xen {} / Linux {})".format(brand, xen, linux),
        label,
        "/boot/xen-fallback.gz " + serial + usual,
        kernel,
        *fallback,
    )
    return text


def main():
    texts = {
        "xenserver-8.4-uefi": SERIAL
        + START
        + REWRITTEN
        + menu("XenServer", "root-ylhdxw", "4.17.5", "4.19.0+1", 2624),
        "xenserver-8.4-legacy": SERIAL
        + START
        + REWRITTEN
        + menu("XenServer", "root-ylhdxw", "4.17.5", "4.19.0+1", 2624),
        "xcp-ng-8.2-uefi": SERIAL + START + menu("XCP-ng", "root-jnugiq", "4.13.5", "4.19.0+1", 7584),
        "xcp-ng-8.2-legacy": SERIAL + START + menu("XCP-ng", "root-jnugiq", "4.13.5", "4.19.0+1", 7584),
        "xcp-ng-8.3-uefi": SERIAL
        + START
        + REWRITTEN
        + menu("XCP-ng", "root-vgdayx", "4.17.5", "4.19.0+1", 3216),
        "xcp-ng-8.3-legacy": SERIAL
        + START
        + REWRITTEN
        + menu("XCP-ng", "root-vgdayx", "4.17.5", "4.19.0+1", 3216),
        "xcp-ng-9-uefi": SERIAL + START + REWRITTEN + menu("XCP-ng", "root-qmbzto", "4.19.2", "6.6.98", 4192),
    }
    for name, text in texts.items():
        (HERE / (name + ".cfg")).write_text(text)


if __name__ == "__main__":
    main()
