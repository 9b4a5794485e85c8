"""The command line ``xentpm-boot`` as a process: usage, users, locks, disks, the firmware's boot entries."""

import fcntl
import json
import os
import subprocess

import pytest

from support.boot_host import IMAGE, REPOSITORY, SETUP, SPARE, BootHost
from support.grub_images import load_option
from support.system_log import SystemLog
from xentpm_lib import __version__
from xentpm_lib.host.boot.boot_entry import LABEL
from xentpm_lib.host.boot.efi import EfiVariables

BOOT_ORDER = "sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c"
ESP_BYTES = 3 << 20


@pytest.fixture
def host(tmp_path):
    return BootHost(tmp_path)


def test_version_and_help(host, capsys):
    assert host.call("--version") == 0
    assert capsys.readouterr().out == "xentpm-boot {}\n".format(__version__)
    status, out, err = host.start("--help")
    assert (status, err) == (0, "")
    assert all(word in out for word in ("probe", "predict", "enable", "disable", "status", "verify"))


@pytest.mark.parametrize(
    "words", [(), ("boot",), ("enable", "--sinit"), ("enable", "--method", "x"), ("--x",)]
)
def test_usage(host, words):
    status, out, err = host.start(*words)
    assert (status, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith("xentpm-boot: ") and second == "hint: xentpm-boot --help lists the commands"


@pytest.mark.parametrize(
    "path, said",
    [
        ("opt/xensource/tpm/conf", "names the configuration of a dom0, ROOT/opt/xensource/tpm/config, got "),
        ("no-such-host/opt/xensource/tpm/config", "there is no dom0 in "),
    ],
)
def test_a_mistyped_configuration_is_not_this_machine(host, tmp_path, path, said):
    for command in ("enable", "disable", "probe", "status"):
        status, out, err = host.start("--config", str(tmp_path / path), command)
        assert (status, out) == (2, "") and said in err, err


def test_options_that_do_not_go_together(host, capsys):
    assert host.call("enable", "--default") == 1
    assert "--method tboot" in capsys.readouterr().err


def test_json_may_stand_before_or_behind_the_command(host, capsys):
    for words in (("--json", "status"), ("status", "--json")):
        assert host.call(*words) == 0
        assert json.loads(capsys.readouterr().out) == {"state": None}


def test_only_root_may(host, capfd):
    before = host.snapshot()
    for word in ("enable", "disable", "status", "verify"):
        child = os.fork()
        if child == 0:
            os.setresuid(65534, 65534, 65534)
            os._exit(host.call(word))
        assert os.waitpid(child, 0)[1] == 1 << 8
        first, second = capfd.readouterr().err.splitlines()
        assert first.startswith("xentpm-boot: only root can ") and second.startswith("hint: Run ")
    assert host.snapshot() == before


def test_two_at_once_do_one_after_the_other(host):
    before = host.snapshot()
    processes = [
        subprocess.Popen(host.command("enable"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(3)
    ]
    told = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], told
    assert sum(b"set up already" in text for text in told) == 2
    assert host.call("disable") == 0
    assert host.snapshot() == before


def test_one_that_waits_too_long_says_so(host, capsys, monkeypatch):
    monkeypatch.setattr("xentpm_lib.host.boot.setup_state._LOCK_TIMEOUT_S", 0.0)
    with open(host.paths.at("run/xentpm-boot.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert host.call("enable") == 1
    assert "another xentpm-boot" in capsys.readouterr().err


class Mounted:
    """A small file system at a folder of a host, with what was in the folder."""

    def __init__(self, folder, size):
        self.folder, self.size = folder, size

    def __enter__(self):
        subprocess.check_call(["cp", "-a", self.folder, self.folder + ".copy"])
        options = "size={}".format(self.size)
        subprocess.check_call(["mount", "-t", "tmpfs", "-o", options, "xentpm-test", self.folder])
        subprocess.check_call("cp -a '{0}.copy/.' '{0}/' && rm -r '{0}.copy'".format(self.folder), shell=True)
        return self

    def remount(self, options):
        subprocess.check_call(["mount", "-o", "remount," + options, self.folder])

    def __exit__(self, *_):
        subprocess.check_call(["umount", self.folder])


@pytest.mark.parametrize("spare_kib", [0, 200, 600, 1100])
def test_a_full_esp_changes_nothing(host, capsys, spare_kib):
    """Wherever the room ends: before the check, or behind it in the middle of the work."""
    with Mounted(host.esp, ESP_BYTES):
        found = os.statvfs(host.esp)
        with open(os.path.join(host.esp, "fill"), "wb") as file:
            file.write(bytes(max(0, found.f_bavail * found.f_frsize - spare_kib * 1024)))
        before = host.snapshot()
        status = host.call("enable")
        if status:
            assert "KiB" in capsys.readouterr().err
            assert host.snapshot() == before
        else:
            assert host.call("disable") == 0
        assert host.snapshot() == before


def test_a_full_state_folder_changes_nothing(host, capsys):
    with Mounted(host.paths.at("var/lib"), 64 << 10):
        before = host.snapshot()
        assert host.call("enable") == 1
        assert host.snapshot() == before
    assert "Make room there" in capsys.readouterr().err


def test_a_read_only_esp_changes_nothing(host, capsys):
    with Mounted(host.esp, ESP_BYTES) as esp:
        esp.remount("ro")
        before = host.snapshot()
        assert host.call("enable") == 1
        assert host.snapshot() == before
        assert "read-only" in capsys.readouterr().err
        esp.remount("rw")
        assert host.call("enable") == 0
        esp.remount("ro")
        assert host.call("disable") == 1
        assert host.read(SETUP) is not None
        esp.remount("rw")
        assert host.call("disable") == 0
        assert host.snapshot() == before


def test_a_first_enable_that_fails_halfway_takes_everything_back(host, capsys):
    folder = host.paths.at("boot/efi/EFI/BOOT")
    before = host.snapshot()
    subprocess.check_call(["mount", "--bind", folder, folder])
    try:
        subprocess.check_call(["mount", "-o", "remount,bind,ro", folder])
        assert host.call("enable") == 1
    finally:
        subprocess.check_call(["umount", folder])
    assert "BOOTX64.EFI: Read-only file system" in capsys.readouterr().err
    assert host.snapshot() == before
    assert host.call("enable") == 0


@pytest.fixture
def disk(tmp_path):
    """A disk of this machine with one partition."""
    image = str(tmp_path / "disk.img")
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["sfdisk", "-q", image], input=b"label: gpt\nstart=2048,size=80000,type=U\n", check=True)
    device = subprocess.check_output(["losetup", "-f", "--show", image]).decode().strip()
    yield os.path.basename(device)
    subprocess.check_call(["losetup", "-d", device])


def has_efibootmgr(host, disk):
    """The machine's own efibootmgr, on this host's variables."""
    script = 'EFIVARFS_PATH={}/ exec /usr/bin/efibootmgr "$@"'
    host.program("usr/sbin/efibootmgr", script.format(host.paths.at("sys/firmware/efi/efivars")))
    host.write("proc/mounts", "/dev/{}p1 /boot/efi vfat rw 0 0\n".format(disk))
    host.write("sys/devices/{0}/{0}p1/partition".format(disk), "1\n")
    os.makedirs(host.paths.at("sys/class/block"))
    os.symlink(
        host.paths.at("sys/devices/{0}/{0}p1".format(disk)),
        host.paths.at("sys/class/block/{}p1".format(disk)),
    )
    host.boots("/EFI/xenserver/grubx64.efi", number=3)
    host.variable("BootOrder", b"\3\0\4\0")
    host.variable("Boot0004", EfiVariables(host.paths)._value("Boot0003"))


def test_the_stock_image_gets_a_boot_entry_that_is_tried_last(host, disk, capsys):
    has_efibootmgr(host, disk)
    before = host.snapshot()
    for _ in range(2):
        assert host.call("enable") == 0
        variables = EfiVariables(host.paths)
        assert variables.boot_order[:2] == (3, 4) and len(variables.boot_order) == 3
        entry = variables.option(variables.boot_order[-1])
        assert (entry.description, entry.file) == (LABEL, "/EFI/xenserver/grubx64-stock.efi")
    assert host.read(SPARE) is not None
    assert host.call("disable") == 0
    variables = EfiVariables(host.paths)
    assert variables.boot_order[:2] == (3, 4) and variables.option(0) is None
    after = host.snapshot()  # a folder keeps the end of a longer BootOrder, which an efivarfs does not
    assert {path for path in after if after[path] != before.get(path)} <= {BOOT_ORDER}


def test_only_the_entry_for_our_file_under_our_whole_label_goes(host, disk):
    has_efibootmgr(host, disk)
    for number, label, file in (
        (5, LABEL + " (mine)", "/EFI/xenserver/grubx64-stock.efi"),
        (6, LABEL, "/EFI/mine/grubx64.efi"),
    ):
        host.variable("Boot{:04X}".format(number), load_option(file, description=label))
    assert host.call("enable") == 0
    number = EfiVariables(host.paths).boot_order[-1]
    assert number not in (5, 6) and EfiVariables(host.paths).option(number) is not None
    assert host.call("disable") == 0
    found = [EfiVariables(host.paths).option(one) is not None for one in (5, 6, number)]
    assert found == [True, True, False]


def test_a_kill_while_the_entry_is_made_leaves_the_order(host, disk):
    has_efibootmgr(host, disk)
    path = host.paths.at("usr/sbin/efibootmgr")
    with open(path) as file:
        script = file.read()
    host.program(
        "usr/sbin/efibootmgr",
        script.partition("\n")[2].replace("exec ", "") + 'case "$*" in *-L*) kill -9 $PPID;; esac',
    )
    status, _, _ = host.start("enable")
    assert status == -9
    assert EfiVariables(host.paths).boot_order == (3, 4)
    assert EfiVariables(host.paths).option(0).description == LABEL
    host.program("usr/sbin/efibootmgr", script.partition("\n")[2])
    assert host.call("enable") == 0
    assert EfiVariables(host.paths).boot_order == (3, 4, 0)
    assert host.call("disable") == 0
    assert EfiVariables(host.paths).option(0) is None


def test_an_efibootmgr_that_fails_is_told_and_does_no_harm(host, capsys):
    host.program("usr/sbin/efibootmgr", "echo no variables >&2; exit 2")
    before = host.snapshot()
    assert host.call("enable") == 0
    assert "no boot entry for the stock image: " in capsys.readouterr().out
    assert host.read(IMAGE) != host.read(SPARE)
    assert host.call("disable") == 0
    assert "may still be there" in capsys.readouterr().out
    assert host.snapshot() == before


@pytest.fixture
def system_log(tmp_path):
    os.mkdir(str(tmp_path / "log"))
    log = SystemLog(str(tmp_path / "log"))
    yield log
    log.close()


def test_verify_writes_one_line_to_the_log_when_it_was_undone(tmp_path, system_log):
    host = BootHost(tmp_path / "root")
    for words, status, lines in ((("enable",), 0, 0), (("verify",), 0, 0), (("status",), 0, 0)):
        assert system_log.run(host.command(*words), cwd=REPOSITORY).returncode == status
        assert len(system_log.lines()) == lines
    host.update()
    done = system_log.run(host.command("verify"), cwd=REPOSITORY)
    (line,) = system_log.lines()
    assert (done.returncode, done.stderr) == (1, b"")
    assert line.startswith("<12>") and "xentpm[" in line  # user, warning
    assert line.endswith(done.stdout.decode().rstrip("\n")) and "was undone" in line


def test_an_interrupted_enable_goes_on_at_the_next_call(host):
    before = host.snapshot()
    inject = "inject=rename:signal=SIGINT:when=4"
    status, out, err = host.start("enable", before=["strace", "-qq", "-o", "/dev/null", "-e", inject])
    assert (status, out) == (130, "")
    assert err.startswith("xentpm-boot: interrupted; ")
    assert host.call("enable") == 0
    assert host.call("disable") == 0
    assert host.snapshot() == before


def test_a_result_that_cannot_be_written_is_an_error(host):
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >/dev/full', "sh", *host.command("status")],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"xentpm-boot: the result cannot be written: No space left")
