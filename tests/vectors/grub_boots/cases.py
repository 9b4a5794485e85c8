"""Write the cases: python3 tests/vectors/grub_boots/cases.py. They are made up, to have every construct."""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERIAL = (
    "serial --unit=0 --speed=115200\nterminal_input serial console\nterminal_output serial console\n"
    "set timeout=0\n"
)
STANDARD = (
    "tpm gzio multiboot2 part_gpt fat normal serial search search_label search_fs_uuid search_fs_file linux"
    " test loadenv configfile echo boot true minicmd sleep terminal"
)
END = "\techo XENTPM-END\n\tsleep 60\n"
ENTRY = (
    "menuentry '{}' {{\n\tsearch --label --set root ROOT-XYZ\n\tmultiboot2 /boot/xen.gz dom0_mem=4096M\n"
    "\tmodule2 /boot/vmlinuz root=LABEL=root-xyz ro\n\tmodule2 /boot/initrd.img\n" + END + "}}\n"
)
XEN = {
    "/boot/xen.gz": "@host /boot/xen-4.17-amd64.gz",
    "/boot/vmlinuz": "@noise kernel 20000",
    "/boot/initrd.img": "@noise initrd 30000",
}
LINUX = {"/boot/vmlinuz": "@linux", "/boot/initrd.img": "@noise initrd 30000"}


def block(text):
    return ("# GRUB Environment Block\n" + text).ljust(1024, "#")


def modules(*names):
    return {"/EFI/xenserver/x86_64-efi/" + name: "@module " + name for name in names}


def case(name, config, files, **rest):
    rest = dict({"modules": STANDARD}, **rest)
    rest["files"] = dict({"/EFI/xenserver/grub.cfg": config}, **files)
    (HERE / "cases").mkdir(exist_ok=True)
    (HERE / "cases" / (name + ".json")).write_text(json.dumps(rest, indent=1) + "\n")


FIRST = r"""set default=0
if [ -s $prefix/grubenv ]; then
	load_env
fi

# a comment in the first column
if [ -n "$override_entry" ]; then
	set default=$override_entry
fi
bare=value
function greet {
	echo hello $1 "$2"
}
greet one "two  three" four
search --file --set found /boot/marker
echo found=$found root=$root
search --label --set root ROOT-XYZ
insmod nosuch
set x="a  b"
set y=$x
echo [$x] ["$x"] '' "" $unset "$unset" end\ here a\\b 'c\d' "e\f\$g\"h" a$x"c" * ?
for i in 1 2 "$x" $x; do echo i=$i; done
! [ a = a ]
echo status=$?
menuentry 'XenServer' --class xen {
	search --label --set root ROOT-XYZ
# dropped
	# kept
	multiboot2 /boot/xen.gz dom0_mem=4096M "quoted arg" a\\b x='y z'
	module2 /boot/vmlinuz root=LABEL=root-xyz ro
	module2 /boot/initrd.img
"""
MENUS = r"""if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
    save_env saved_entry
  fi
}
menuentry "First $unset" --class a --class b $menuentry_id_option 'first' {
	echo first
}
submenu 'Advanced > options' $menuentry_id_option 'advanced' more {
	set inner=1
	echo params "$@" have=$have_grubenv id=$menuentry_id_option
	menuentry 'Older' $menuentry_id_option 'older' {
		echo older
	}
	submenu "Deeper" {
		menuentry 'Xen 4.17' --unrestricted --unknown $menuentry_id_option 'xen-4.17' extra {
			savedefault
			load_env
			echo chosen=$chosen default=$default next=$next_entry $1 $2 $#
"""
FLOW = r"""set a=1 b=2
echo a=$a b=$b
function count {
	while [ $# -gt 0 ]; do
		if [ "$1" = skip ]; then
			shift
			continue
		elif [ "$1" = stop ]; then
			break
		else
			echo "$# $*" $@
		fi
		shift
	done
	return 3
	echo never
}
count x "y  z" skip w stop q
echo after=$?
set n=x
until [ $n = xxx ]; do n=${n}x; done
for i in a b c; do for j in 1 2 3; do if [ $j = 2 ]; then break 2; fi; echo $i$j; done; done
if true; then echo yes; fi; if ! true; then echo no; elif false; then echo no; else echo else; fi
if [ -f /boot/marker -a ! -d /boot/marker -a -e /boot ]; then echo files; fi
if [ -s /boot/empty -o -s /boot/absent ]; then echo never; else echo empty; fi
if [ "(" 1 -lt 2 ")" -a 010 -eq 8 -a b ">" a ]; then echo numbers; fi
source /EFI/xenserver/more.cfg
echo dir=$config_directory file=$config_file
. $prefix/absent.cfg
set prefix=$prefix
unset a
echo "a=$a" \
  continued "over
lines" 'and
here'
{ echo
"""
#: commands that fail, or have little to do; after each one its result
COMMANDS = """set
set novalue
unset
export
[ -s /none ]
insmod
search
search --label
search --nothing x
search --file /boot/marker
search -f -s v /boot/marker
search.file /boot/marker v2
search.fs_label NOPE v3
search --fs-uuid --set=v4 0abc-1234
search --set /boot/marker --file
load_env --file /none
load_env -f /boot/marker
load_env --bad
load_env name
load_env --skip-sig
save_env
save_env -f /boot/marker x
save_env -f /none x
save_env absent
save_env x
source
source /none
configfile /none
module2 /boot/vmlinuz
module2
multiboot2
multiboot2 /none
initrd /boot/initrd.img
initrd
linux
linux /none
chainloader
chainloader /none
loadfont
loadfont /boot/marker
loadfont none
shift
setparams a
return
break
break 0
break x
break 1 2
continue
boot
menuentry
menuentry x
menuentry --id
true
false
! false
! true
!
!= x
"""
IN_FUNCTION = """function f {
	setparams x "y z"
	echo $1-$2-$#
	shift 5
	echo $?
	shift
	echo $1
	shift q
	echo $?
	return 1 2
	echo $?
	false
	return
}
f
echo f=$?
echo $v $v2 $v3 $v4 $name
"""
MORE = "echo more=$config_file\nset from_more=yes\n"
LINUX_ENTRY = r"""menuentry 'Linux "quoted" and '"it's" {
	linux /boot/vmlinuz root=/dev/sda1 "a b" c\"d 'e\f' $from_more
	initrd /boot/initrd.img /boot/marker
"""
DISK_CONFIG = r"""echo loaded by itself
insmod test
if [ a = a ]; then echo yes; fi
insmod nosuch
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
insmod hashsum
"""
EARLY = "search.file /boot/marker root\nset prefix=($root)/EFI/other\nunknown=word\necho measured? $prefix\n"
EARLY_CONFIGFILE = EARLY + "configfile $prefix/first.cfg\n"


def main():
    case(
        "first",
        SERIAL
        + FIRST.replace("/boot/marker", "/boot/marker")
        + END
        + "}\nmenuentry 'Other' {\n\techo other\n\tboot\n}\n",
        {"/EFI/xenserver/grubenv": block("name=val\n"), "/boot/marker": "marker\n", **XEN},
    )
    case(
        "menus",
        SERIAL
        + MENUS
        + "\t\t\tmultiboot2 /boot/xen.gz\n\t\t\tmodule2 /boot/vmlinuz ''\n"
        + "\t\t\tmodule2 --nounzip /boot/initrd.img\n\t\t\techo XENTPM-END\n\t\t\tsleep 60\n\t\t}\n\t}\n}\n",
        {
            "/EFI/xenserver/grubenv": block("next_entry=Advanced >> options>Deeper>xen-4.17\nother=a\\\\b\n"),
            **XEN,
        },
    )
    case(
        "fallback",
        SERIAL
        + "set default=1\nset fallback='2 0'\n"
        + ENTRY.format("Zero")
        + ENTRY.format("One").replace("/boot/xen.gz", "/boot/absent.gz").replace(END, "")
        + "menuentry 'Two' {\n\techo two\n\tboot\n}\n",
        XEN,
        partition=1,
    )
    case(
        "flow",
        SERIAL + FLOW.replace("{ echo\n", "") + LINUX_ENTRY + END + "}\n",
        {"/EFI/xenserver/more.cfg": MORE, "/boot/marker": "marker\n", "/boot/empty": "", **LINUX},
    )
    names = [name + ".mod" for name in "echo extcmd test terminal serial hashsum crypto sleep normal".split()]
    names += [name + ".lst" for name in "command fs crypto terminal".split()]
    case(
        "modules",
        DISK_CONFIG + ENTRY.format("XenServer"),
        {**modules(*names), **XEN},
        modules="tpm gzio multiboot2 part_gpt fat normal search search_label boot",
    )
    case(
        "normal_on_disk",
        DISK_CONFIG + ENTRY.format("XenServer"),
        {
            **modules(
                "gzio.mod",
                "gcry_crc.mod",
                "gettext.mod",
                "bufio.mod",
                "datetime.mod",
                "net.mod",
                "priority_queue.mod",
                "terminfo.mod",
                *names,
            ),
            **XEN,
        },
        modules="tpm multiboot2 part_gpt fat search search_label boot",
    )
    case(
        "embedded",
        "echo never\n",
        {
            "/boot/marker": "marker\n",
            "/EFI/other/first.cfg": SERIAL + "other=1\nexport other\n" + ENTRY.format("XenServer"),
            **XEN,
        },
        modules=STANDARD,
        embedded=EARLY_CONFIGFILE,
        partition=2,
    )
    case(
        "embedded_prefix",
        "echo never\n",
        {"/boot/marker": "marker\n", "/EFI/other/grub.cfg": SERIAL + ENTRY.format("XenServer"), **XEN},
        modules=STANDARD,
        embedded=EARLY,
        prefix="(,gpt4)/EFI/xenserver",
    )
    case(
        "lacking",
        SERIAL + "if [ a = b ]; then echo true; else echo false; fi\nload_env\n" + ENTRY.format("XenServer"),
        {"/EFI/xenserver/grubenv": block("a=b\n"), **XEN},
        modules="tpm gzio multiboot2 part_gpt fat normal search search_label echo serial terminal sleep",
    )
    texts = {
        name: (HERE.parent / "grub_cfg" / (name + ".cfg")).read_text()
        for name in ("xenserver-8.4-uefi", "xcp-ng-8.2-uefi", "debian-12-uefi")
    }
    xen = {
        "/boot/xen.gz": XEN["/boot/xen.gz"],
        "/boot/vmlinuz-4.19-xen": XEN["/boot/vmlinuz"],
        "/boot/initrd-4.19-xen.img": XEN["/boot/initrd.img"],
    }
    case(
        "xenserver_8_4",
        texts["xenserver-8.4-uefi"].replace("root-ylhdxw", "ROOT-XYZ").replace("timeout=5", "timeout=0"),
        {"/EFI/xenserver/grubenv": block(""), **xen},
        end="no suitable video mode found",
    )
    case(
        "xcp_ng_8_2",
        texts["xcp-ng-8.2-uefi"].replace("root-jnugiq", "ROOT-XYZ").replace("timeout=5", "timeout=0"),
        xen,
        end="no suitable video mode found",
    )
    debian = (
        texts["debian-12-uefi"]
        .replace("3c43ad39-f91b-4beb-a09d-2ba37a6d0e11", "0ABC-1234")
        .replace("set timeout=5", "set timeout=0")
    )
    debian = debian.replace("terminal_output gfxterm\n", SERIAL).replace(
        'set default="0"', "set default='gnulinux-advanced-0ABC-1234>xen-hypervisor-4.17-amd64-0ABC-1234>0'"
    )
    last = "\t\t\tmodule2\t--nounzip   /boot/initrd.img-6.1.0-49-amd64\n"
    debian = debian.replace(last, last + "\t\t\techo XENTPM-END\n\t\t\tsleep 60\n")
    lines = COMMANDS.splitlines()
    case(
        "commands",
        SERIAL
        + "set x='a\\b'\n"
        + "".join("{}\necho $?\n".format(line) for line in lines)
        + IN_FUNCTION
        + ENTRY.format("XenServer"),
        {"/EFI/xenserver/grubenv": block("name=val\nabsent=1\n"), "/boot/marker": "marker\n", **XEN},
        modules=STANDARD + " chain font",
    )
    case(
        "debian_12",
        debian,
        {
            "/EFI/xenserver/grubenv": block(""),
            "/boot/xen-4.17-amd64.gz": XEN["/boot/xen.gz"],
            "/boot/vmlinuz-6.1.0-49-amd64": XEN["/boot/vmlinuz"],
            "/boot/initrd.img-6.1.0-49-amd64": XEN["/boot/initrd.img"],
        },
        modules=STANDARD + " font efifwsetup all_video gfxterm gettext efi_gop efi_uga video_bochs",
    )


if __name__ == "__main__":
    main()
