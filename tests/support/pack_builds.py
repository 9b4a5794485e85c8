"""Supplemental packs, really built, each once for a run; two of them compile the binding."""

import os
import re
import shutil
import subprocess
from functools import lru_cache

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = "/usr/bin/python3"
"""The platform's interpreter, as `make pack` takes it: not the one that runs the tests."""
EPOCH = "1700000000"
LIMIT_S = 600
_SOURCES = ("xentpm_lib", "plugins", "packaging", "requirements")


class Build:
    """What one run of the builder left: ``iso``, ``zip``, ``tree`` (the ISO's files), ``said`` (stderr)."""

    def __init__(self, folder, said):
        self.folder, self.said = folder, said
        (self.iso,) = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".iso")]
        self.zip = self.iso[:-4] + ".zip"
        self.tree = os.path.join(folder, "tree")
        command = ["xorriso", "-osirrox", "on", "-indev", self.iso, "-extract", "/", self.tree]
        subprocess.run(command, check=True, capture_output=True)

    def at(self, name):
        """The path of a file of the ISO."""
        return os.path.join(self.tree, name)

    def read(self, name):
        with open(self.at(name), encoding="utf-8") as file:
            return file.read()

    @property
    def rpm(self):
        """The path of the payload."""
        (name,) = [name for name in os.listdir(self.at("Packages")) if name.startswith("xentpm-")]
        return self.at("Packages/" + name)


class Packs:
    """All packs of a run, below ``folder``. The first two are built at the same time."""

    def __init__(self, folder):
        self.folder = folder
        self._cache = ("--cache", self._at("cache"))

    def _at(self, name):
        return os.path.join(self.folder, name)

    @lru_cache(maxsize=None)  # noqa: B019 - one object, for the whole run
    def _first_two(self):
        first = start_build(REPOSITORY, self._at("first"), *self._cache)
        second = start_build(self.source("elsewhere, with a longer name"), self._at("second"))
        return finish_build(first), finish_build(second)

    @property
    def plain(self):
        """Of this checkout, without a signature."""
        return self._first_two()[0]

    @property
    def again(self):
        """The same source in another folder, compiled by itself."""
        return self._first_two()[1]

    @lru_cache(maxsize=None)  # noqa: B019
    def of_version(self, version):
        """The same source under another version."""
        assert self.plain
        return finish_build(
            start_build(self.source(version, version), self._at("of-" + version), *self._cache)
        )

    @lru_cache(maxsize=None)  # noqa: B019
    def signed(self):
        """Signed with a key made for it."""
        assert self.plain
        home = self._at("g")
        os.mkdir(home, 0o700)
        environment = dict(os.environ, GNUPGHOME=home)
        gpg = ["gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
        try:
            user = ["--quick-gen-key", "Test of packs <packs@example.org>", "rsa3072", "sign", "never"]
            subprocess.run(gpg + user, env=environment, check=True, capture_output=True)
            secret = subprocess.check_output(gpg + ["--export-secret-keys"], env=environment)
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)
        with open(self._at("key"), "wb") as file:
            file.write(secret)
        options = ("--signing-key", self._at("key")) + self._cache
        return finish_build(start_build(REPOSITORY, self._at("signed"), *options))

    def source(self, name, version=None):
        """A copy of what the builder reads."""
        target = self._at(name)
        for folder in _SOURCES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(os.path.join(REPOSITORY, folder), os.path.join(target, folder), ignore=ignored)
        shutil.copy(os.path.join(REPOSITORY, "LICENSE"), target)
        if version is not None:
            path = os.path.join(target, "xentpm_lib/__init__.py")
            with open(path, encoding="utf-8") as file:
                text = re.sub(r'(?m)^__version__ = ".*"$', '__version__ = "{}"'.format(version), file.read())
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return target


def start_build(source, out, *options, python=PYTHON, **environment):
    """Start the builder of ``source``, as `make pack` does."""
    os.makedirs(out)
    builder = os.path.join(source, "packaging/build_pack.py")
    process = subprocess.Popen(
        [python, "-I", builder, "--out", out, *options],
        env=dict(os.environ, **dict({"SOURCE_DATE_EPOCH": EPOCH}, **environment)),
        cwd=out,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, out


def finish_build(started):
    """Wait for it."""
    process, out = started
    printed, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    build = Build(out, said)
    assert printed.split("\n")[:2] == [build.iso, build.zip]
    return build
