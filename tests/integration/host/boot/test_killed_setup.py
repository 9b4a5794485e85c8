"""`xentpm-boot` killed before every system call that writes: the host boots, and the next call mends all.

The calls of one undisturbed run are listed by strace; then the same command is run once for each of them and
killed by the kernel as it enters that call. This is what a kill does. What a power cut does to a FAT is
another matter: `durable.py` says what it relies on.
"""

import os
import re

import pytest

from support.boot_host import COPY, IMAGE, SPARE, TBOOT_CONFIG, BootHost, make_tboot_host

CALLS = ("write", "pwrite64", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat")
CALLS += ("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "fsync", "fdatasync", "sync", "syncfs", "openat")
CALLS += ("open", "creat", "ftruncate", "truncate", "fchmod", "chmod", "fchmodat", "fallocate")
OPENING = ("openat", "open")
CREATING = re.compile(r"O_CREAT|O_TRUNC|O_WRONLY|O_RDWR")
LEFT_OVER = "xentpm-new"
KILLED = -9

pytestmark = pytest.mark.slow


def unmeasured():
    """The environment of a process whose system calls are counted: no coverage, no compiled files."""
    return dict(os.environ, XENTPM_UNMEASURED="1", PYTHONDONTWRITEBYTECODE="1")


def call_numbers(host, command, log):
    """Each call that writes of one run of ``command``, as its name and how many of that name it is."""
    status, _, err = host.start(
        command,
        before=["strace", "-qq", "-o", log, "-e", "signal=none", "-e", "trace=" + ",".join(CALLS)],
        env=unmeasured(),
    )
    assert status == 0, err
    counts, found = {}, []
    with open(log) as file:
        for line in file:
            name = line.partition("(")[0]
            counts[name] = counts.get(name, 0) + 1
            if name not in OPENING or (CREATING.search(line) and "/dev/" not in line):
                found.append((name, counts[name]))
    return found


def kill(host, command, name, number):
    """Run ``command`` and have it killed as it enters that call."""
    inject = "inject={}:signal=SIGKILL:when={}".format(name, number)
    before = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=" + name, "-e", inject]
    status, out, err = host.start(command, before=before, env=unmeasured())
    assert status == KILLED, (command, name, number, out, err)


class Bed:
    """A host, what it is before `enable`, and the image that it has afterwards."""

    def __init__(self, folder):
        self.host = BootHost(os.path.join(folder, "root"))
        self.log = os.path.join(folder, "log")
        self.before = self.host.snapshot()
        self.stock = self.host.read(IMAGE)
        assert self.host.call("enable") == 0
        self.new = self.host.read(IMAGE)
        assert self.new != self.stock
        assert self.host.call("disable") == 0
        assert self.host.snapshot() == self.before

    def check_that_it_boots(self, where):
        """Each image is whole, and the stock one can be started from the firmware's menu or a shell."""
        for path in (IMAGE, COPY):
            assert self.host.read(path) in (self.stock, self.new), where
        assert self.stock in (self.host.read(IMAGE), self.host.read(SPARE)), where

    def check_enable(self, where):
        """Another `enable` succeeds and leaves nothing behind but what it should."""
        assert self.host.call("enable") == 0, where
        assert self.host.read(IMAGE) == self.host.read(COPY) == self.new, where
        assert self.host.read(SPARE) == self.stock, where
        assert not [path for path in self.host.snapshot() if LEFT_OVER in path], where

    def check_disable(self, where):
        """`disable` brings every byte back."""
        assert self.host.call("disable") == 0, where
        assert self.host.snapshot() == self.before, where


@pytest.fixture
def bed(tmp_path):
    return Bed(str(tmp_path))


def test_enable_is_killed_before_every_call_that_writes(bed):
    calls = call_numbers(bed.host, "enable", bed.log)
    bed.check_disable("at first")
    assert {"write", "rename", "fsync", "openat", "mkdir"} <= {name for name, _ in calls}
    for name, number in calls:
        where = "enable, killed at {} {}".format(name, number)
        kill(bed.host, "enable", name, number)
        bed.check_that_it_boots(where)
        if number % 2:  # straight back, or by way of another enable
            bed.check_enable(where)
        bed.check_disable(where)


def test_disable_is_killed_before_every_call_that_writes(bed):
    bed.check_enable("at first")
    calls = call_numbers(bed.host, "disable", bed.log)
    assert {"write", "rename", "fsync", "openat", "unlink", "rmdir"} <= {name for name, _ in calls}
    for name, number in calls:
        where = "disable, killed at {} {}".format(name, number)
        bed.check_enable(where)
        kill(bed.host, "disable", name, number)
        bed.check_that_it_boots(where)
        if number % 2:
            bed.check_enable(where)
        bed.check_disable(where)


def test_enable_after_an_update_is_killed_before_every_write_and_rename(bed):
    """Neither the update's image nor the one before it is ever lost."""
    host = bed.host
    bed.check_enable("at first")
    update = host.update()
    calls = call_numbers(host, "enable", bed.log)
    newest = host.read(IMAGE)
    for name, number in [call for call in calls if call[0] in ("rename", "unlink", "write")]:
        where = "enable after an update, killed at {} {}".format(name, number)
        assert host.call("disable") == 0, where
        assert (host.read(IMAGE), host.read(COPY), host.read(SPARE)) == (update, bed.stock, None), where
        host.write(IMAGE, bed.stock)
        bed.check_enable(where)
        host.write(IMAGE, update)
        kill(host, "enable", name, number)
        assert host.read(IMAGE) in (update, newest), where
        assert update in (host.read(IMAGE), host.read(SPARE)), where
        assert host.call("enable") == 0, where
        assert host.read(IMAGE) == host.read(COPY) == newest, where


def test_enable_and_disable_by_tboot_are_killed_before_every_write_and_rename(tmp_path):
    """grub.cfg is the old or the new one, and nothing of ours stays after `disable`."""
    host, log = make_tboot_host(tmp_path / "root"), str(tmp_path / "log")
    before, old = host.snapshot(), host.read(TBOOT_CONFIG)
    calls = {"enable": call_numbers(host, "enable", log)}
    new = host.read(TBOOT_CONFIG)
    calls["disable"] = call_numbers(host, "disable", log)
    assert new != old and host.snapshot() == before
    for command in calls:
        for name, number in [call for call in calls[command] if call[0] in ("rename", "unlink", "write")]:
            where = "{} by tboot, killed at {} {}".format(command, name, number)
            if command == "disable":
                assert host.call("enable") == 0, where
            kill(host, command, name, number)
            assert host.read(TBOOT_CONFIG) in (old, new), where
            if number % 2:
                assert host.call("enable") == 0, where
                assert host.read(TBOOT_CONFIG) == new, where
            assert host.call("disable") == 0, where
            assert host.snapshot() == before, where
