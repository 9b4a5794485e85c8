"""The machine's disk, its firmware's variables and its TPM as they leave the factory, made once and kept.

They are in ``~/.cache/xentpm/lab``, in folders whose names are digests of all that they are made of: the
packages' versions, the files in ``guest``. What was made of other things is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.failures import LabError
from lab.machine import Machine
from lab.progress import say, step
from xentpm_lib.simulator.swtpm import Swtpm

__all__ = ["Images", "prepared"]

GUEST = Path(__file__).with_name("guest")
PACKAGES = (
    "systemd,systemd-sysv,python3,kmod,busybox-static,strace,efibootmgr,rpm,grub-efi-amd64-bin,grub-common,"
    "cpio,iproute2,logrotate"
)
_SUITE = "bookworm"
_KERNEL, _XEN = "linux-image-amd64", "xen-hypervisor-4.17-amd64"
_UNNEEDED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")


class Images:
    """disk: raw, GPT. variables: OVMF's. tpm: swtpm's state. ek_ca: certificates of who made the TPM."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._root = root
        self._in_use = [os.open(used, os.O_RDONLY) for used in (folder, root)]
        for descriptor in self._in_use:  # until this process ends: see _unused
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        self.disk = folder / "disk.raw"
        self.variables = folder / "variables.fd"
        self.tpm = folder / "tpm"
        self.ca = folder / "ca"

    @property
    def stock_image(self) -> bytes:
        """The GRUB image that is on the disk's boot partition."""
        words = ["mcopy", "-i", f"{self.disk}@@1M", "::EFI/xenserver/grubx64.efi", "-"]
        return subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout

    @property
    def xen(self) -> bytes:
        """Debian's xen.gz."""
        return self._packed("xen-hypervisor", "./boot/xen-*.gz")

    @property
    def kernel(self) -> bytes:
        """Debian's kernel."""
        return self._packed("linux-image", "./boot/vmlinuz-*")

    def _packed(self, package: str, pattern: str) -> bytes:
        """The bytes of a file in a package."""
        deb = next(self._root.glob(f"{package}*.deb"))
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as archive:
            words = ["tar", "-xO", "--wildcards", pattern]
            return subprocess.run(words, stdin=archive.stdout, stdout=subprocess.PIPE, check=True).stdout

    @property
    def ek_ca(self) -> list[Path]:
        """The certificates that the TPM's endorsement certificate is signed with, as PEM files."""
        return [self.ca / "root.pem", self.ca / "issuer.pem"]


def prepared(cache: Path) -> Images:
    """The images; made where the cache has none. Raises: LabError."""
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock"):
        root = _kept(cache, "root", _root_key(), _make_root)
        installed = _kept(
            cache, "installed", _installed_key(root), lambda folder: _make_installed(folder, root)
        )
    return Images(installed, root)


def _kept(cache: Path, kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of this kind and key, complete; others of this kind are removed."""
    folder = cache / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        for old in cache.glob(f"{kind}-*"):
            if _unused(old):
                shutil.rmtree(old)
        new = Path(tempfile.mkdtemp(prefix=f"{kind}-", suffix=".new", dir=cache))
        try:
            make(new)
            new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder


def _unused(folder: Path) -> bool:
    """Whether no other lab works with what is in a folder of the cache."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


# Debian's packages


def _root_key() -> str:
    """Of the greatest packages' versions: not of all, or every small update would cost minutes."""
    versions = _output("apt-cache", "policy", _kernel_package(), _XEN, "systemd", "grub-efi-amd64-bin")
    candidates = [line for line in versions.splitlines() if "Candidate:" in line]
    return "\n".join([PACKAGES, _SUITE, _kernel_package(), *candidates, *_UNNEEDED])


def _kernel_package() -> str:
    """The package that holds the kernel: the other one only depends on it."""
    for line in _output("apt-cache", "depends", _KERNEL).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith("linux-image-"):
            return name
    raise LabError(f"apt knows no {_KERNEL}: run apt-get update; it has to know Debian {_SUITE}")


def _make_root(folder: Path) -> None:
    with step("dom0's packages, from Debian"):
        sources = folder / "sources.list"
        sources.write_text(_sources(), "ascii")
        settings = folder / "apt.conf"
        settings.write_text(_output("apt-config", "dump", "Acquire::http", "Acquire::https"), "utf-8")
        excluded = [f"--dpkgopt=path-exclude={path}" for path in _UNNEEDED]
        words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *excluded]
        words += [f"--aptopt={settings}", _SUITE, str(folder / "root.tar"), str(sources)]
        with _open_folder() as place:
            _run([*_apart(), *words], folder, TMPDIR=place)
        _run(["apt-get", "-q", "download", _kernel_package(), _XEN], folder)


def _apart() -> list[str]:
    """Words before mmdebstrap, so that nothing that it mounts or starts outlives it, however it ends."""
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    possible = (
        os.geteuid() == 0 and subprocess.run([*words, "true"], stderr=subprocess.DEVNULL).returncode == 0
    )
    return words if possible else []


@contextmanager
def _open_folder() -> Iterator[str]:
    """A temporary folder that apt's own user can look into."""
    place = tempfile.mkdtemp(prefix="xentpm-lab-")
    os.chmod(place, 0o755)
    try:
        yield place
    finally:
        for _ in range(10):
            shutil.rmtree(place, ignore_errors=True)
            if not os.path.exists(place):
                break
            time.sleep(0.2)


def _sources() -> str:
    """Lines for the archives that this machine gets Debian's packages from."""
    form = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(COMPONENT)|$(SIGNED_BY)"
    found = _output("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    lines = []
    for line in dict.fromkeys(found.splitlines()):
        origin, codename, uri, component, signed_by = line.split("|")
        if origin == "Debian" and codename.startswith(_SUITE):
            option = f"[signed-by={signed_by}] " if signed_by.startswith("/") else ""
            lines.append(f"deb {option}{uri} {codename} {component}\n")
    if not lines:
        raise LabError(f"apt has no sources of Debian {_SUITE} on this machine")
    return "".join(lines)


# The disk, as an installer leaves it


def _installed_key(root: Path) -> str:
    files = sorted(path for path in GUEST.rglob("*") if path.is_file())
    digests = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return "\n".join([root.name, *digests])


def _make_installed(folder: Path, root: Path) -> None:
    images = Images(folder, root)
    with step("dom0's disk, of these packages"):
        fake = [] if os.geteuid() == 0 else ["fakeroot"]
        kernel, xen = (str(next(root.glob(f"{name}*.deb"))) for name in ("linux-image", "xen-hypervisor"))
        _run([*fake, str(GUEST / "make-disk"), str(images.disk), str(root / "root.tar"), kernel, xen], folder)
    with step("a TPM, with certificates of its maker"):
        Swtpm.manufacture(str(images.tpm), str(images.ca))
    with step("the boot entry that an installer makes: one boot"):
        _make_variables(images, folder)


def _make_variables(images: Images, folder: Path) -> None:
    """Boot the disk by the firmware's own wits, which writes its entries; then put the installer's first."""
    empty = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
    with tempfile.TemporaryDirectory(prefix="xentpm-lab-") as place:
        machine = Machine(Path(place) / "machine", images.disk, empty, images.tpm)
        try:
            machine.boot()
            entry = "-c -d /dev/vda -p 1 -L XCP-ng -l '\\EFI\\xenserver\\grubx64.efi'"
            machine.dom0.good(f"efibootmgr -q {entry}")
            machine.dom0.start("sync; sleep 0.3; systemctl poweroff --force --no-wall")
            machine.await_end()
        finally:
            machine.power_cut()
            if machine.log.exists():
                shutil.copy(machine.log, folder / "first-boot.log")
        shutil.copy(machine.variables, images.variables)


# Programs


def _output(*words: str) -> str:
    try:
        return subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise LabError(f"{words[0]}: {error}") from error


def _run(words: list[str], folder: Path, **environment: str) -> None:
    """Run a program in a folder; its output only when it fails. Raises: LabError."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=dict(os.environ, **environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if status != 0:
            output.seek(0)
            say(output.read()[-4000:])
            raise LabError(f"{words[0]} ended with {status}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
