"""The binding of the TSS and the TSS itself, taken from this machine and made independent of it.

Of tpm2-pytss only the compiled module is packed: `xentpm_lib.tpm.binding` loads that alone, and with it
nothing of cryptography, asn1crypto, packaging or PyYAML, which the rest of tpm2-pytss imports. Of cffi it
needs the compiled half. FAPI is left out of the build: nothing here uses it, and it would bring a web client.
"""

import glob
import hashlib
import os
import re
import shutil
import sysconfig
from typing import Dict, List, NamedTuple, Optional, Set

from pack.libraries import copy_libraries, relocate
from pack.platform_facts import Platform
from pack.tools import PackError, run

__all__ = ["Source", "make_bundle"]

_OLDEST_PYTHON_OF_DEV = (3, 10)
_TCTIS = ("device", "swtpm")
_LEFT_OUT = ("tss2-fapi", "tss2-policy")
_COPYRIGHTS = (
    "/usr/share/doc/libtss2-esys*/copyright",
    "/usr/share/licenses/tpm2-tss/*",
    "/usr/share/doc/tpm2-tss*/LICENSE",
)


class Source(NamedTuple):
    """``repository``: this project; ``work``: an empty folder; ``cache``: of earlier builds, or None."""

    repository: str
    work: str
    cache: Optional[str]


def make_bundle(source: Source, library: str, licences: str, platform: Platform) -> Dict[str, str]:
    """Fill the empty folder ``library`` with what dom0 needs beside `xentpm_lib`; returns facts about it.

    Raises:
        PackError: something is not on this machine, cannot be built, or does not load.
    """
    site = _built_binding(source.repository, source.work, source.cache, platform)
    module = _one(site, "tpm2_pytss/_libtpm2_pytss*.so")
    backend = _one(site, "_cffi_backend*.so")
    os.makedirs(os.path.join(library, "tpm2_pytss"))
    binaries = [
        shutil.copy(module, os.path.join(library, "tpm2_pytss")),
        shutil.copy(backend, library),
    ]
    tctis = _tcti_libraries()
    of_platform = copy_libraries([module, backend] + tctis, library)
    for path in tctis:
        shutil.copyfile(os.path.realpath(path), os.path.join(library, os.path.basename(path)))
    for path in binaries:
        relocate(path, "$ORIGIN/.." if "tpm2_pytss" in path else "$ORIGIN")
    for path in sorted(glob.glob(os.path.join(library, "lib*.so*"))):
        relocate(path, "$ORIGIN")
        binaries.append(path)
    _check_machine(binaries, platform)
    _check_loads(library, source.work, platform)
    _copy_licences(site, licences)
    return _facts(site, of_platform)


def _facts(site: str, of_platform: Set[str]) -> Dict[str, str]:
    return {
        "libraries_needed": " ".join(sorted(name for name in of_platform if not name.startswith("ld-"))),
        "tpm2_tss": run(["pkg-config", "--modversion", "tss2-esys"]).strip(),
        "tpm2_pytss": _version(site, "tpm2_pytss"),
        "cffi": _version(site, "cffi"),
    }


def _built_binding(repository: str, work: str, cache: Optional[str], platform: Platform) -> str:
    """The folder with tpm2-pytss and cffi: from the ``cache`` where the same was built before."""
    new = tuple(int(part) for part in platform.python_version.split(".")) >= _OLDEST_PYTHON_OF_DEV
    names = ("build.txt", "dev.txt") if new else ("py36-build.txt", "py36.txt")
    pins = [os.path.join(repository, "requirements", name) for name in names]
    if cache is None:
        return _build_binding(pins[0], pins[1], work, platform)
    kept = os.path.join(os.path.abspath(cache), "binding-" + _key(pins, platform))
    if not os.path.exists(kept):
        os.makedirs(cache, exist_ok=True)
        shutil.copytree(_build_binding(pins[0], pins[1], work, platform), kept + ".new")
        os.rename(kept + ".new", kept)
    return kept


def _key(pins: List[str], platform: Platform) -> str:
    """Of all that the compiled binding depends on."""
    digest = hashlib.sha256(repr((platform, run(["pkg-config", "--modversion", "tss2-esys"]))).encode())
    for path in pins + [os.path.abspath(__file__)]:
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()[:32]


def _build_binding(build: str, pins: str, work: str, platform: Platform) -> str:
    """Compile tpm2-pytss as it is pinned for this interpreter."""
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.exists(header):
        raise PackError("{} is not there".format(header), "Install python3-devel (Debian: python3-dev).")
    environment, site = os.path.join(work, "venv"), os.path.join(work, "site")
    run([platform.python, "-m", "venv", environment])
    pip = [os.path.join(environment, "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    if os.path.basename(build).startswith("py36"):  # the pip that comes with 3.6 knows no current wheels
        run(pip + ["install", "-q", "pip==21.3.1"])
    run(pip + ["install", "-q", "-r", build])
    run(
        pip
        + [
            "install",
            "-q",
            "--no-build-isolation",
            "--no-deps",
            "--no-binary",
            "tpm2-pytss",
            "--no-cache-dir",
        ]
        + ["--target", site, _pin(pins, "tpm2-pytss"), _pin(build, "cffi")],
        environment={
            "PKG_CONFIG_LIBDIR": _pkg_config_without_fapi(work),
            "CFLAGS": "-g0 -O1 -ffile-prefix-map={}=.".format(work),
        },
    )
    return site


def _pkg_config_without_fapi(work: str) -> str:
    """A folder with what pkg-config knows on this machine, FAPI not among it."""
    folder = os.path.join(work, "pkgconfig")
    os.makedirs(folder)
    asked = run(["pkg-config", "--variable", "pc_path", "pkg-config"]).strip()
    for source in os.environ.get("PKG_CONFIG_PATH", "").split(":") + asked.split(":"):
        for path in glob.glob(os.path.join(source, "*.pc")) if source else []:
            name = os.path.basename(path)
            if name[:-3] not in _LEFT_OUT and not os.path.lexists(os.path.join(folder, name)):
                os.symlink(path, os.path.join(folder, name))
    if not os.path.exists(os.path.join(folder, "tss2-esys.pc")):
        raise PackError(
            "the TPM2 software stack (tpm2-tss) is not on this machine, or without its headers",
            "Install tpm2-tss-devel (Debian: libtss2-dev), or set PKG_CONFIG_PATH to where it was built.",
        )
    return folder


def _tcti_libraries() -> List[str]:
    found = []
    for name in _TCTIS:
        try:
            folder = run(["pkg-config", "--variable", "libdir", "tss2-tcti-" + name]).strip()
        except PackError as error:
            raise PackError("tpm2-tss on this machine has no TCTI {}".format(name)) from error
        path = os.path.join(folder, "libtss2-tcti-{}.so.0".format(name))
        if not os.path.exists(path):
            raise PackError("{} is not there".format(path), "Install the libraries of tpm2-tss, too.")
        found.append(path)
    return found


def _check_machine(paths: List[str], platform: Platform) -> None:
    """All of one kind, and the interpreter's. Raises: PackError."""
    own = re.findall("Machine: *(.+)", run(["readelf", "-hW", os.path.realpath(platform.python)]))
    for path in paths:
        machine = re.findall("Machine: *(.+)", run(["readelf", "-hW", path]))
        if machine != own:
            raise PackError("{} is for {}, the interpreter for {}".format(path, machine, own))


_LOAD = """
import os, sys
sys.path.insert(0, sys.argv[1])
import importlib.util
path = [os.path.join(sys.argv[1], "tpm2_pytss", name) for name in os.listdir(sys.argv[1] + "/tpm2_pytss")]
spec = importlib.util.spec_from_file_location("tpm2_pytss._libtpm2_pytss", path[0])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
slot = module.ffi.new("TSS2_TCTI_CONTEXT **")
for conf in sys.argv[2:]:
    module.lib.Tss2_TctiLdr_Initialize(conf.encode(), slot)
for name in ("Esys_Initialize", "Esys_Quote", "Tss2_MU_TPMT_SIGNATURE_Marshal"):
    getattr(module.lib, name)
"""


def _check_loads(library: str, work: str, platform: Platform) -> None:
    """Load it from where it is now, and have the loader tell what it took. Raises: PackError."""
    trace = os.path.join(work, "loader")
    environment = {
        "TSS2_LOG": "all+none",
        "LD_LIBRARY_PATH": "",
        "LD_DEBUG": "files",
        "LD_DEBUG_OUTPUT": trace,
    }
    confs = ["{}:/dev/null".format(name) for name in _TCTIS]
    run([platform.python, "-I", "-S", "-c", _LOAD, library] + confs, environment=environment)
    with open(_one(work, "loader.*"), encoding="utf-8", errors="replace") as file:
        loaded = set(re.findall(r"calling init: (\S*libtss2\S*)", file.read()))
    foreign = sorted(path for path in loaded if not os.path.abspath(path).startswith(library))
    missing = [name for name in _TCTIS if not any("libtss2-tcti-" + name in path for path in loaded)]
    if foreign or missing:
        raise PackError("the bundle does not load by itself: {}".format(" ".join(foreign + missing)))


def _copy_licences(site: str, folder: str) -> None:
    for name in ("tpm2_pytss", "cffi"):
        texts = glob.glob(os.path.join(site, name + "-*.dist-info", "**", "LICENSE*"), recursive=True)
        for path in texts[:1]:
            shutil.copyfile(path, os.path.join(folder, name))
    for pattern in _COPYRIGHTS:
        for path in sorted(glob.glob(pattern))[:1]:
            shutil.copyfile(path, os.path.join(folder, "tpm2_tss"))


def _version(site: str, name: str) -> str:
    found = glob.glob(os.path.join(site, name + "-*.dist-info"))
    return os.path.basename(found[0])[len(name) + 1 : -len(".dist-info")] if found else "unknown"


def _pin(path: str, name: str) -> str:
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith(name + "=="):
                return line.strip()
    raise PackError("{} pins no {}".format(path, name))


def _one(folder: str, pattern: str) -> str:
    found = glob.glob(os.path.join(folder, pattern))
    if len(found) != 1:
        raise PackError("expected one {} in {}, found {}".format(pattern, folder, len(found)))
    return found[0]
