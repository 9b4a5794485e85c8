"""Where GRUB does something else than one would think: each line as real GRUB 2.06 carried it out."""

import pytest

from support.grub_boots import write_dom0
from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.grub_files import GrubFiles
from xentpm_lib.host.boot.grub_image import GrubImage
from xentpm_lib.host.boot.grub_run import run_grub
from xentpm_lib.host.boot.prediction import full_prefix, predict

MODULES = (
    "tpm normal configfile multiboot2 test search loadenv boot true echo serial terminal sleep font"
    " gfxterm gfxmenu gfxterm_background png"
)
ENTRY = "menuentry a {\n echo t=$timeout s=$timeout_style\n multiboot2 /boot/xen.gz a\n}\n"
PLAIN = '# plain\ntitle-text: ""\ndesktop-color: "#000000"\r\n\n'


def _font(sections):
    body = b"".join(name + len(data).to_bytes(4, "big") + data for name, data in sections)
    return (b"FILE\0\0\0\4PFF2" + body).decode("latin-1")


SIZES = [(name, b"\0\1") for name in (b"MAXW", b"MAXH", b"ASCE", b"DESC")]
FILES = {
    "/boot/xen.gz": "xen",
    "/boot/plain.txt": PLAIN,
    "/boot/theme.txt": PLAIN + '+ boot_menu {\n item_font = "a"\n}\n',
    "/boot/picture.png": "png",
    "/boot/empty.cfg": "set timeout=0\nmenuentry x {\n true\n}\n",
    "/boot/good.pf2": _font([(b"NAME", b"a\0")] + SIZES + [(b"CHIX", bytes(9)), (b"DATA", b"")]),
    "/boot/flat.pf2": _font(SIZES[:3] + [(b"DESC", b"\0\0"), (b"DATA", b"")]),
    "/boot/short.pf2": _font(SIZES) + "xx",
}


def _events(tmp_path, config, modules=MODULES, entry=ENTRY):
    """What is measured and told for a configuration."""
    case = {"files": dict(FILES, **{"/EFI/xenserver/grub.cfg": config + entry})}
    paths = write_dom0(tmp_path, case, {"files": {}})
    files = GrubFiles(paths, "boot/efi")
    image = GrubImage(tuple(modules.split()), "/EFI/xenserver", None, None)
    run = run_grub(files, image, full_prefix(image.prefix, files), "/EFI/BOOT")
    return [event.description for event in run.measured], run.notes


def _refused(tmp_path, config, match, **changes):
    with pytest.raises(XenTpmError, match=match) as caught:
        _events(tmp_path, config, **changes)
    assert caught.value.code == "XENTPM_BOOT"
    return caught.value


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("! x=1", 0),
        ("! true", 1),
        ("! false", 0),
        ("terminal_output nosuch", 18),
        ("terminal_input nosuch", 18),
        ("terminal_input gfxterm", 18),
        ("terminal_input --append", 18),
        ("terminal_input at_keyboard", 18),
        ("terminal_input serial_com0 console", 0),
        ("terminal_output --append gfxterm", 0),
        ("serial --unit=9", 18),
        ("serial --unit=x", 10),
        ("serial --parity=none", 18),
        ("serial --nosuch", 18),
        ("serial --unit=0 --speed=115200 --word=8 --parity=no --stop=1", 0),
        ("sleep", 18),
        ("sleep --verbose", 18),
        ("sleep --interruptible 1", 0),
        ("sleep x", 0),
        ("set color_normal=bad", 0),
        ("[ 08 -eq 8 ]", 0),
        ("[ 018 -eq 1 ]", 0),
        ("[ 18446744073709551616 -lt 0 ]", 0),
        ("[ 9223372036854775808 -lt 0 ]", 0),
        ("[ -18446744073709551616 -eq 1 ]", 0),
        ("[ 9223372036854775807 -gt 0 ]", 0),
        ("loadfont /boot/good.pf2", 0),
        ("loadfont /boot/flat.pf2", 23),
        ("loadfont /boot/short.pf2", 23),
        ("background_image /boot/picture.png", 6),
    ],
)
def test_results_of_commands(tmp_path, command, status):
    events, _ = _events(tmp_path, "set timeout=0\n{}\necho is $?\n".format(command))
    assert "grub_cmd: echo is {}".format(status) in events


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("if ! y=2; then echo A; else echo B; fi\n", "echo A"),
        ("if terminal_output nosuch; then echo A; else echo B; fi\n", "echo B"),
        ("if serial --unit=9; then echo A; else echo B; fi\n", "echo B"),
        ("echo $cmdpath\n", "echo (hd0,gpt4)/EFI/BOOT"),
        ("function f { echo old; }\nf; function f { echo new; }\n", "echo new"),
        ("f; function f { echo new; }\n", "echo new"),
        ("set color_normal=white/blue\nset color_normal=x/y\necho $color_normal\n", "echo white/blue"),
        ("set color_normal=white/blue\nunset color_normal\necho $color_normal\n", "echo white/blue"),
        ("function search { echo own; }\nsearch\n", "echo own"),
    ],
)
def test_what_is_carried_out(tmp_path, config, expected):
    modules = MODULES.replace(" search", "") if "search" in config else MODULES
    assert "grub_cmd: " + expected in _events(tmp_path, "set timeout=0\n" + config, modules)[0]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("set timeout=0\n", "t=0 s="),
        ("set timeout=5\n", "t= s="),
        ("set timeout=0\nset timeout_style=hidden\n", "t= s="),
        ("set timeout=5\nset timeout_style=countdown\n", "t= s="),
        ("set timeout=5\nset timeout_style=menu\n", "t= s=menu"),
        ("set timeout_style=hidden\n", "t= s="),
        ("set timeout=0\nset fallback=1\nmenuentry no {\n true\n}\n", "t= s="),
    ],
)
def test_the_timeout_that_an_entry_sees(tmp_path, config, expected):
    assert "grub_cmd: echo " + expected in _events(tmp_path, config)[0]


@pytest.mark.parametrize(
    "function", ["function f { echo a }", "function f { menuentry x { echo a; } }", "function f {\n a\n b }"]
)
def test_a_function_that_grub_does_not_know(tmp_path, function):
    _refused(tmp_path, "true\n" + function + "\n", "line {}: a ; is missing".format(2 + function.count("\n")))


@pytest.mark.parametrize("name", ["ls", "cat", "regexp", "lsmod"])
def test_a_function_with_the_name_of_a_command(tmp_path, name):
    _refused(
        tmp_path, "function {} {{ true; }}\n{}\n".format(name, name), "line 2: {} is a function".format(name)
    )


GRAPHICS = "terminal_output gfxterm\nset theme=/boot/{}.txt\n"


def test_a_theme_is_read_when_the_menu_is_drawn(tmp_path):
    events, _ = _events(tmp_path, "set timeout=5\n" + GRAPHICS.format("plain"))
    assert events[events.index("grub_cmd: setparams a") - 1] == "/boot/plain.txt"


@pytest.mark.parametrize(
    "config",
    [
        "set timeout=0\n" + GRAPHICS,
        "set timeout=5\nset timeout_style=hidden\n" + GRAPHICS,
        "set timeout=5\n" + GRAPHICS + "terminal_output console\n",
    ],
)
def test_no_theme_is_read_without_a_drawn_menu(tmp_path, config):
    assert "/boot/theme.txt" not in _events(tmp_path, config.format("theme"))[0]


def test_a_theme_with_pictures_is_not_interpreted(tmp_path):
    error = _refused(
        tmp_path, "set timeout=5\n" + GRAPHICS.format("theme"), "has the theme '/boot/theme.txt'"
    )
    assert "set theme" in error.hint


def test_a_theme_that_is_not_there_is_told(tmp_path):
    notes = _events(tmp_path, "set timeout=5\n" + GRAPHICS.format("none"))[1]
    assert any("There is no theme" in note for note in notes)


def test_a_picture_is_read_where_it_can_be_shown_which_is_told(tmp_path):
    config = "set timeout=0\nterminal_output gfxterm\nbackground_image /boot/picture.png\n"
    events, notes = _events(tmp_path / "a", config)
    assert "/boot/picture.png" in events
    assert any("line 3: GRUB is assumed to show the picture" in note for note in notes)
    events, _ = _events(tmp_path / "b", config, MODULES.replace(" png", ""))
    assert "/boot/picture.png" not in events


def test_hardware_that_a_condition_asks_for_is_told(tmp_path):
    _, notes = _events(tmp_path / "a", "set timeout=0\nif serial --unit=0; then true; fi\n")
    assert any("line 2: the serial port is assumed" in note for note in notes)
    assert _events(tmp_path / "b", "set timeout=0\nserial --unit=0\nterminal_input serial\n")[1] == ()


def test_other_terminals(tmp_path):
    _refused(tmp_path, "terminal_output morse\n", "line 1: the terminal 'morse' is not interpreted")


@pytest.mark.parametrize("command", ["configfile /boot/empty.cfg", "normal /boot/empty.cfg"])
def test_a_menu_that_nothing_leads_out_of(tmp_path, command):
    _refused(tmp_path, command + "\n", "line 1: no menu entry of '/boot/empty.cfg' loads a kernel")


def test_an_error_has_the_notes_that_say_why(tmp_path):
    lacking = MODULES.replace("multiboot2 ", "")
    assert "no command 'multiboot2'" in str(_refused(tmp_path / "a", "", "no menu entry", modules=lacking))
    missing = "multiboot2 /boot/none\n"
    error = _refused(tmp_path / "b", missing + "configfile /boot/empty.cfg\n", "no menu entry")
    assert "there is no file '/boot/none'" in error.hint
    case = {"files": {"/EFI/xenserver/grub.cfg": "true\n"}}
    with pytest.raises(XenTpmError, match="no menu entry loads a kernel.*image was not found"):
        predict(write_dom0(tmp_path / "c", case, {"files": {}}), ["sha256"])
