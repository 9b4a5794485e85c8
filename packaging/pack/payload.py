"""The tree that the RPM installs, made below a folder that stands for ``/``."""

import json
import os
import py_compile
import shutil
from typing import Dict, Iterator

from pack.bundle import Source, make_bundle
from pack.grub import copy_grub
from pack.libraries import glibc_needed
from pack.platform_facts import Platform
from pack.tools import PackError

__all__ = ["HOME", "installed_bytes", "make_payload", "set_times", "write_facts"]

HOME = "opt/xensource/tpm"
_LAYERS = ("evidence", "tpm", "host")
_WRAPPER = """#!{python} -I
\"\"\"The command {command}.\"\"\"
import sys

sys.path.insert(0, "/{home}/lib")

from {module} import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
"""
_COMMANDS = (("xentpm", "xentpm_lib.host.cli"), ("xentpm-boot", "xentpm_lib.host.boot.cli"))
_FILES = (
    ("config", HOME + "/config", 0o600),
    ("xentpm.service", "usr/lib/systemd/system/xentpm.service", 0o644),
    ("xentpm.logrotate", "etc/logrotate.d/xentpm", 0o644),
    ("bugtool/xentpm.xml", "etc/xensource/bugtool/xentpm.xml", 0o644),
    ("bugtool/stuff.xml", "etc/xensource/bugtool/xentpm/stuff.xml", 0o644),
)


def make_payload(source: Source, root: str, platform: Platform, grub: bool) -> Dict[str, str]:
    """Make the tree below ``root`` and return the facts about it, for ``platform.json``.

    Raises:
        PackError: something of it cannot be made on this machine.
    """
    repository, home = source.repository, os.path.join(root, HOME)
    library, licences = os.path.join(home, "lib"), os.path.join(home, "licences")
    for folder in (library, licences):
        os.makedirs(folder)
    bundled = make_bundle(source, library, licences, platform)
    _copy_library(repository, library)
    shutil.copyfile(os.path.join(repository, "LICENSE"), os.path.join(licences, "xentpm"))
    for command, module in _COMMANDS:
        words = {"python": platform.python, "home": HOME, "module": module, "command": command}
        _write(os.path.join(home, command), _WRAPPER.format(**words), 0o755)
        _link(os.path.join(root, "usr/sbin", command), "/{}/{}".format(HOME, command))
    _copy_plugin(repository, root, platform)
    for name, target, mode in _FILES:
        with open(os.path.join(repository, "packaging/files", name), encoding="utf-8") as file:
            _write(os.path.join(root, target), file.read(), mode)
    facts = dict(platform.facts(), **bundled)
    if grub:
        facts["grub"] = copy_grub(os.path.join(home, "grub"), licences)
    binaries = [
        path for path in _tree(home) if path.endswith("/grub-mkimage") or ".so" in os.path.basename(path)
    ]
    facts["glibc_needed"] = glibc_needed(binaries)
    return facts


def write_facts(root: str, facts: Dict[str, str]) -> None:
    """Write ``platform.json``: one ``"key": "value"`` a line, as `install.sh` reads it without a parser."""
    _write(
        os.path.join(root, HOME, "platform.json"), json.dumps(facts, indent=2, sort_keys=True) + "\n", 0o644
    )


def set_times(root: str, epoch: int, compile_below: str) -> None:
    """Give every file the time ``epoch`` and compile what is below ``compile_below``, always the same.

    A compiled file holds its source's time and installed path; so it comes after the times are set.
    """
    for path in _tree(root):
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    for path in list(_tree(os.path.join(root, compile_below))):
        if path.endswith(".py"):
            made = py_compile.compile(path, dfile="/" + os.path.relpath(path, root), doraise=True)
            assert made is not None
            os.chmod(made, 0o644)
    for path in _tree(root):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def installed_bytes(root: str) -> int:
    """What the tree takes on a disk with blocks of 4,096 bytes."""
    return sum(-(-os.lstat(path).st_size // 4096) * 4096 for path in _tree(root))


def _tree(root: str) -> Iterator[str]:
    """Everything below ``root`` and itself, in the order of names, a folder after what is inside."""
    for folder, folders, names in os.walk(root, topdown=False):
        folders.sort()
        for name in sorted(names):
            yield os.path.join(folder, name)
        yield folder


def _copy_library(repository: str, library: str) -> None:
    source, target = os.path.join(repository, "xentpm_lib"), os.path.join(library, "xentpm_lib")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "*~")
    for layer in _LAYERS:
        shutil.copytree(os.path.join(source, layer), os.path.join(target, layer), ignore=ignored)
    for name in ("__init__.py", "errors.py"):
        shutil.copyfile(os.path.join(source, name), os.path.join(target, name))
    for path in _tree(target):
        os.chmod(path, 0o755 if os.path.isdir(path) else 0o644)


def _copy_plugin(repository: str, root: str, platform: Platform) -> None:
    with open(os.path.join(repository, "plugins/tpm"), encoding="utf-8") as file:
        first, body = file.read().split("\n", 1)
    if first != "#!/usr/bin/python3 -I":
        raise PackError("plugins/tpm does not begin as it should: {}".format(first))
    _write(os.path.join(root, "etc/xapi.d/plugins/tpm"), "#!{} -I\n{}".format(platform.python, body), 0o755)


def _link(path: str, target: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, path)


def _write(path: str, text: str, mode: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.chmod(path, mode)
