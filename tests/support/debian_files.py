"""Files of Debian packages that nobody wants installed for a test: Xen goes into the boot menu at once."""

import atexit
import os
import shutil
import subprocess
import tempfile

XEN = ("xen-hypervisor-4.17-amd64", "/boot/xen-4.17-amd64.gz")
XEN_EFI = ("xen-hypervisor-4.17-amd64", "/boot/xen-4.17-amd64.efi")
_unpacked = {}


def installed(package, path):
    """The place of a package's file: ``path`` where the package is installed, else a downloaded one."""
    return path if os.path.exists(path) else unpacked(package, path)


def unpacked(package, path):
    """The place of a file of a package that is downloaded, once in a run, and not installed."""
    if package not in _unpacked:
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, True)
        subprocess.check_call(["apt-get", "-q", "download", package], cwd=folder, stdout=subprocess.DEVNULL)
        archive = os.path.join(folder, os.listdir(folder)[0])
        subprocess.check_call(["dpkg-deb", "-x", archive, os.path.join(folder, "root")])
        _unpacked[package] = os.path.join(folder, "root")
    return _unpacked[package] + path
