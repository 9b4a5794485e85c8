"""Write the cases ``status``, ``contexts`` and ``screen``: python3 tests/vectors/grub_boots/cases_more.py."""

from cases import SERIAL, STANDARD, XEN, block, case

STATUS = r"""
! x=1
echo inv=$? x=$x
if ! y=2; then echo A1; else echo A2; fi
if terminal_output nosuch; then echo B1; else echo B2; fi
if terminal_input nosuch; then echo B3; else echo B4; fi
if serial --unit=9; then echo C1; else echo C2; fi
echo cmdpath=$cmdpath fw=$fw_path pager=$pager lang=$lang dbg=$debug
echo cfg=$config_file dir=$config_directory net=$net_default_interface
if [ ]; then echo D1; else echo D2; fi
if [ $nothing ]; then echo D3; else echo D4; fi
if [ -n ]; then echo D5; else echo D6; fi
if [ $nothing = y ]; then echo D7; else echo D8; fi
if [ "" ]; then echo D9; else echo D10; fi
if [ a -gt 1 ]; then echo E1; else echo E2; fi
if [ 0x10 -eq 16 ]; then echo E3; else echo E4; fi
if [ -5 -lt 3 ]; then echo E5; else echo E6; fi
if [ 1 = 1 -a 2 = 3 -o 4 = 4 ]; then echo E7; else echo E8; fi
if [ ! 1 = 1 -o ! 1 = 2 ]; then echo E9; else echo E10; fi
if [ x == x ]; then echo E11; fi
if [ ! "" = a ]; then echo E12; fi
if [ 99999999999999999999999 -gt 5 ]; then echo E13; else echo E14; fi
if test a = a ]; then echo E15; else echo E16; fi
if echo x; false; then echo F1; else echo F2; fi
if false; true; then echo F3; else echo F4; fi
if z=5; then echo F5 $z; fi
for i in; do echo never; done
echo for=$?
false
for i in; do echo never; done
echo for2=$?
if false; then echo n; fi
echo if=$?
echo "a\`b" 'x;y' "p;q" a\;b a#b \# "\n" "\x"
echo "multi
#dropped?
line"
export a=b
export e1
e1=5
echo $e1.x ${e1}y "$e1-z" $e1-z
set q='*'
echo "[$q]"
true # comment ; echo no
echo c \
d
set "sp=a b"
echo "$sp" $sp
set =empty
echo eq=$?
unset
echo un=$?
set novalue
echo sv=$?
export
echo ex=$?
insmod
echo im=$?
insmod absent
echo im2=$?
search --label --set=foo NOPE
echo se=$? foo=$foo
search --no-floppy --set=foo --hint=hd0,gpt2 --hint-efi=hd0,gpt2 --fs-uuid 0ABC-1234
echo se2=$? foo=$foo
search --no-floppy --fs-uuid --set=foo2 0abc-1234
echo se3=$? foo2=$foo2
search -l ROOT-XYZ -s
echo se4=$?
search -n -l -s foo3 ROOT-XYZ
echo se5=$? foo3=$foo3
search -sfoo4 -l ROOT-XYZ
echo se6=$? foo4=$foo4
search --label root-xyz --set=foo5
echo se7=$? foo5=$foo5
set root='(hd0,gpt4)'
echo root=$root
set root='hd0,gpt4'
[ -f (hd0,gpt4)/boot/marker ]
echo mk=$?
function f { echo old; }
f; function f { echo new; }
f
function g { return 5; }
g
echo g=$?
function h { for i in 1 2 3; do if [ $i = 2 ]; then return; fi; echo $i; done; }
h
echo h=$? i=$i
setparams x
echo sp=$?
shift
echo sh=$?
return
echo re=$?
break
echo br=$?
load_env
echo le=$? v=$v
load_env -f /boot/marker
echo le2=$?
load_env --file /boot/envb v2
echo le3=$? v=$v v2=$v2
save_env nosuchvar
echo sv2=$?
loadfont /boot/marker
echo lf=$?
source /boot/nofile
echo so=$?
source /boot/deeper.cfg
echo so2=$? $config_file
module2 /boot/xen.gz
echo mod=$?
initrd /boot/marker
echo ini=$?
boot
echo boot=$?
sleep
echo sl=$?
sleep x
echo sl2=$?
[ 18446744073709551615 -lt 0 -a 018 -eq 1 -a 0x -eq 0 ]
echo big=$?
sleep --verbose
echo sl3=$?
echo -n foo
terminal_output
echo to=$?
"""
CONTEXTS = r"""
set default='Sub é x>1'
set fallback=0
set timeout_style=countdown
title="T $x"
x=outer
export x
y=hidden
function entry_fn {
	echo fn n=$# 1=$1 at=$@ root=$root x=$x y=$y timeout=$timeout default=$default
	set leak=1
}
function addmenu { menuentry "Added $1" { echo added $1; }; }
addmenu one
if false; then
	menuentry 'never' { echo never; }
fi
echo if then else do done in time case esac select function while until
for i in if then do2 a; do echo $i; done
echo a;echo b ; echo c;
echo tail
menuentry 'brace' --class a --hotkey=b -x --foo bar $nothing { echo '}' "}" \}
	# comment with } brace
	echo a \
  b
	echo "x
#gone
y"
}
menuentry "$title" --id tid {
	echo title
}
submenu 'Sub é x' --id subid {
	echo in sub timeout=$timeout default=$default x=$x y=$y leak=$leak chosen=$chosen
	set x=inner
	set unexported=1
	set fallback="1 2"
	menuentry 'zero' { echo zero; }
	menuentry 'one' {
		echo one x=$x y=$y un=$unexported chosen=$chosen d=$default fb=$fallback t=$timeout
		entry_fn q "r s"
		multiboot2 /boot/absent.gz
		echo mb=$?
		module2 /boot/vmlinuz
		echo m2=$?
	}
	menuentry 'two' --unrestricted {
		echo two chosen=$chosen d=$default fb=$fallback leak=$leak
		set in_entry=1
		source /boot/extra.cfg
		if [ "$in_entry" = 1 ]; then echo ie; elif true; then echo no; fi
		configfile /boot/conf.cfg
		echo after conf=$? root=$root c=$c
END
	}
}
"""
LAST = """		search --label --set root ROOT-XYZ
		multiboot2 /boot/xen.gz dom0_mem=4096M
		module2 /boot/vmlinuz root=LABEL=root-xyz ro
		module2 /boot/initrd.img
		echo XENTPM-END
		sleep 60
"""
CONF = """echo conf x=$x in=$in_entry un=$unexported t=$timeout default=$default chosen=$chosen fb=$fallback
c=1
set timeout=0
set default=7
entry_fn zz
"""
EXTRA = "echo extra $in_entry $1 $config_file\r\nset in_entry=1\nmenuentry 'x' { echo x; }\n"
SCREEN = r"""
function nodelim { echo nd; }
nodelim
function multi
{
	echo multi
	}
multi
menuentry 'single' { echo y }
menuentry 'single2' { echo y; echo z
}
echo ${#} "$?" ${?} "${?}"
[ -s /boot/marker -a -s /boot/envb ]
echo c1=$?
[ a -o -s /boot/marker ]
echo c2=$?
[ ! a -a -s /boot/marker ]
echo c3=$?
[ -s /boot ]
echo c4=$?
[ -d / ]
echo c5=$?
[ -d /boot/ -a -f /boot/marker ]
echo c6=$?
[ -e "" ]
echo c7=$?
[ -f (memdisk)/x ]
echo c8=$?
[ "(" a ")" = b ]
echo c9=$?
[ a = b c = c ]
echo c10=$?
[ -n a -n "" ]
echo c11=$?
[ -z $nothing ]
echo c12=$?
[ ! ]
echo c13=$?
[ ! a ]
echo c14=$?
[ a ! = b ]
echo c15=$?
[ -x /boot/marker ]
echo c16=$?
[ 08 -eq 8 ]
echo c17=$?
[ 5x -eq 5 ]
echo c18=$?
[ a "<" B ]
echo c19=$?
search --file /boot/nofile --set=zz
echo s1=$? zz=$zz
search --set=zz /boot/marker
echo s2=$? zz=$zz
search --file --no-floppy --set=zz --hint='hd0,gpt4' --hint-bios=hd9,gpt4 /boot/marker
echo s3=$? zz=$zz
search.file /boot/marker zz2
echo s4=$? zz2=$zz2
search --fs-uuid --label --set=zz3 ROOT-XYZ
echo s5=$? zz3=$zz3
search --label --set zz4 --no-floppy ROOT-XYZ
echo s6=$? zz4=$zz4
search --label ROOT-XYZ --set zz5
echo s7=$? zz5=$zz5
set v="a=b c"
save_env v nosuch
load_env
echo v=$v
for i in 1 2 3; do
	if [ $i = 2 ]; then continue; fi
	while true; do break 2; done
	echo after $i
done
echo i=$i
until false; do echo once; break; done
while [ "$w" != aaa ]; do w=a$w; if [ $w = aa ]; then continue; fi; echo $w; done
if [ a = b ]; then echo 1
elif [ b = c ]
then
  echo 2
else
  if true
  then echo 3; fi
fi
set color_normal=white/blue
echo $color_normal
set color_normal=bad
echo col=$? $color_normal
set menu_color_normal=bad
set pager=1
echo pg=$pager
set pager=x
echo pg=$pager
unset pager
echo pg=$pager
unset root
echo root=$root
set root=hd0,gpt4
unset prefix
echo prefix=$prefix
set prefix=(hd0,gpt4)/EFI/xenserver
set gfxmode=800x600
set gfxpayload=keep
set lang=de_DE
set locale_dir=$prefix/locale
echo $lang $gfxmode
loadfont $prefix/x.pf2
echo lf=$?
set theme=/boot/theme.txt
terminal_output serial gfxterm
echo to=$?
set timeout_style=menu
set default=2
"""
ENTRY = """menuentry 'Has ; semi # hash' $nothing "$e1" {
EXTRA	search --label --set root ROOT-XYZ
	multiboot2 /boot/xen.gz dom0_mem=4096M
	module2 /boot/vmlinuz root=LABEL=root-xyz ro
	module2 /boot/initrd.img
	echo XENTPM-END
	sleep 60
}
"""
SHOWN = "\techo timeout=$timeout default=$default chosen=$chosen n=$# 1=$1 2=$2\n"
FILES = {
    "/EFI/xenserver/grubenv": block("v=1\n"),
    "/boot/marker": "marker\n",
    "/boot/envb": block("v=9\nv2=3\n"),
    "/boot/deeper.cfg": "echo deep\nreturn 3\necho deeper\n",
    **XEN,
}
THEME = 'desktop-color: "#000000"\n'
SCREEN_MODULES = " font gfxterm gfxmenu all_video efi_gop video_bochs png"


def main():
    start = SERIAL.replace("timeout=0", "timeout=1")
    case("status", start + STATUS + ENTRY.replace("EXTRA", SHOWN), FILES)
    contexts = (start + CONTEXTS.replace("END\n", LAST)).encode().decode("latin-1")
    case("contexts", contexts, {**FILES, "/boot/extra.cfg": EXTRA, "/boot/conf.cfg": CONF})
    case(
        "screen",
        start + SCREEN + ENTRY.replace("EXTRA", ""),
        {**FILES, "/boot/theme.txt": THEME, "/EFI/xenserver/x.pf2": "FILE\0\0\0\4PFF2xx"},
        modules=STANDARD + SCREEN_MODULES,
    )


if __name__ == "__main__":
    main()
