"""A dom0's tree in a mount namespace of its own, where a pack is installed by its own `install.sh`.

``/usr`` is this machine's, below a layer that can be written and that has none of its TPM2 software stack;
``/etc``, ``/opt`` and ``/var`` begin nearly empty. All is in memory, and gone with the process that holds the
namespace.
"""

import os
import subprocess

import pytest

from support.dom0 import ENVIRONMENT, HOST_UUID, LIMIT_S, SYSTEM_UUID, PluginProcess, method_call, outcome

_MOUNTS = """
set -eu
root=$1 opt_size=$2
mount -t tmpfs -o mode=0755 none "$root"
cd "$root"
mkdir upper work dom0
cd dom0
mkdir -p usr etc opt var/lib var/log var/tmp tmp proc dev sys/class/dmi/id run/swtpm root mnt
mount -t overlay -o "lowerdir=/usr,upperdir=$root/upper,workdir=$root/work" none usr
for name in bin sbin lib lib64; do ln -s "usr/$name" "$name"; done
find usr/lib usr/lib64 -maxdepth 2 -name 'libtss2*' -delete
for name in os-release ld.so.cache passwd group nsswitch.conf; do cp -L "/etc/$name" "etc/$name"; done
mount --rbind /proc proc
mount --rbind /dev dev
mount -t tmpfs -o "size=$opt_size,mode=0755" none opt
echo ready
exec sleep infinity
"""
_PREFIX = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]
_PLUGIN = "/etc/xapi.d/plugins/tpm"
CONFIG = "/opt/xensource/tpm/config"


class Finished:
    """How a command ended."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def __repr__(self):
        return "status {}\n{}\n{}".format(self.status, self.out, self.err)


class PackRoot:
    """The tree; a context manager. ``folder`` has to exist and be empty."""

    def __init__(self, folder, opt_size="64m"):
        if os.geteuid() != 0:  # files of this machine's root would be nobody's in a user namespace
            pytest.skip("to install a pack in a tree of its own needs root, which continuous integration is")
        self._holder = subprocess.Popen(
            _PREFIX + ["bash", "-c", _MOUNTS, "bash", str(folder), opt_size],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self._root = os.path.join(str(folder), "dom0")

    def __enter__(self):
        assert self._holder.stdout.readline() == b"ready\n"
        self.write("/etc/xensource-inventory", "INSTALLATION_UUID='{}'\n".format(HOST_UUID))
        self.write("/sys/class/dmi/id/product_uuid", SYSTEM_UUID + "\n")
        return self

    def __exit__(self, *_):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def _enter(self, *command):
        return ["nsenter", "--target", str(self._holder.pid), "--mount", *command]

    def mount(self, source, target):
        """Show a folder of this machine in the tree, read-only; in place of what was there."""
        target = self._root + target
        script = 'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2"'
        subprocess.run(self._enter("bash", "-c", script, "bash", source, target), check=True)

    def run(self, *command, stdin="", user=None):
        """Run a command in the tree, with nothing but PATH and HOME of the environment."""
        chroot = ["chroot"] + (["--userspec=" + user] if user else []) + [self._root]
        process = subprocess.run(
            self._enter(*chroot, *command),
            input=stdin,
            env=dict(ENVIRONMENT, HOME="/root"),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        return Finished(process.returncode, process.stdout, process.stderr)

    def sh(self, script):
        """What a shell script prints in the tree; it has to succeed."""
        finished = self.run("sh", "-euc", script)
        assert finished.status == 0, finished
        return finished.out

    def install(self, build, *options, stdin="", user=None):
        """Run `install.sh` of a pack's ISO."""
        self.mount(build.tree, "/mnt")
        return self.run("/mnt/install.sh", *options, stdin=stdin, user=user)

    def read(self, path):
        return self.sh("cat '{}'".format(path))

    def write(self, path, text):
        finished = self.run("sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1"', "sh", path, stdin=text)
        assert finished.status == 0, finished

    def listing(self):
        """Every file below what a pack touches, with mode, size and time: equal when nothing was changed."""
        return self.sh("find /etc /opt /var /usr/lib/systemd/system -printf '%p %m %s %T@\\n' | sort")

    def call(self, function, **arguments):
        """Call the installed plugin as XAPI does. Raises: PluginFailed."""
        command = self._enter("chroot", self._root, _PLUGIN, method_call(function, arguments))
        return outcome(*PluginProcess(command).communicate())
