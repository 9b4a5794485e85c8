"""The order of a build: payload, RPMs, signatures, repository, ISO, zip."""

import argparse
import os
import re
import shutil
import sys
import tempfile
from typing import Dict, List, NamedTuple, Optional

from pack.bundle import Source
from pack.iso import write_iso, write_zip
from pack.payload import HOME, installed_bytes, make_payload, set_times, write_facts
from pack.platform_facts import Platform
from pack.repository import Release, write_legacy, write_repodata, write_update
from pack.rpms import build_rpm
from pack.signing import KEY_NAME, signer, verify
from pack.tools import PackError, check_tools, run

__all__ = ["main"]

_RELEASE = "1"
_UNSIGNED = (
    "This pack is not signed: xe-install-supplemental-pack (7.1 and later) refuses it: `Invalid signature`.\n"
    "Mount the ISO on the host and run ./install.sh instead; it needs no signature."
)
_SIGNED = (
    "For xe-install-supplemental-pack (7.1 and later), once on every host: import-update-key {key}\n"
    "The key's fingerprint: {fingerprint}. Compare it with what who gave you this pack says."
)


def main(repository: str) -> int:
    """Build what the command line asks for and print the paths; returns the exit status."""
    options = _parser().parse_args()
    os.umask(0o022)
    try:
        for path in _build(repository, options):
            print(path)
    except PackError as error:
        print("pack: {}".format(error.message), file=sys.stderr)
        if error.hint:
            print("hint: {}".format(error.hint), file=sys.stderr)
        return 1
    return 0


def _build(repository: str, options: argparse.Namespace) -> List[str]:
    check_tools(bool(options.signing_key))
    platform = Platform.of_this_machine(options.systems)
    release = Release(_version(repository), "{}.{}".format(_RELEASE, platform.label))
    epoch = _epoch(repository)
    out = os.path.abspath(options.out)
    os.makedirs(out, exist_ok=True)
    work = tempfile.mkdtemp(prefix="xentpm-pack.")
    try:
        _tell("collecting what dom0 of {} {} needs (a minute)".format(*platform.systems[0]))
        source = Source(repository, work, options.cache)
        facts = _payload(source, platform, release, epoch, options.with_grub)
        _tell("building the RPMs and the ISO")
        job = _Job(repository, work, release, epoch, facts)
        note = job.fill(options.signing_key)
        paths = job.write_images(out)
        _tell(note.split("\n")[0])
        return paths
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _payload(source: Source, platform: Platform, release: Release, epoch: int, grub: bool) -> Dict[str, str]:
    root = os.path.join(source.work, "payload")
    facts = make_payload(source, root, platform, grub)
    facts.update(name="xentpm", version=release.version, release=release.release)
    set_times(root, epoch, HOME + "/lib")
    facts["installed_bytes"] = str(installed_bytes(root))
    write_facts(root, facts)
    set_times(root, epoch, HOME + "/lib")
    return facts


class _Job(NamedTuple):
    """What is done once the payload is there. ``facts``: what `platform.json` says."""

    repository: str
    work: str
    release: Release
    epoch: int
    facts: Dict[str, str]

    def _at(self, name: str) -> str:
        return os.path.join(self.work, "iso", name)

    def fill(self, key: Optional[str]) -> str:
        """Make the tree of the ISO, signed with ``key``; returns what to say about the signatures."""
        os.makedirs(self._at("Packages"))
        size = int(self.facts["installed_bytes"])
        write_update(self._at("update.xml"), self.release, size, KEY_NAME if key else "")
        rpms = self._build_rpms()
        for path in (
            os.path.join(self.work, "payload", HOME, "platform.json"),
            os.path.join(self.repository, "packaging/install.sh"),
            os.path.join(self.repository, "LICENSE"),
        ):
            shutil.copyfile(path, self._at(os.path.basename(path)))
        os.chmod(self._at("install.sh"), 0o755)
        note = self._sign_and_index(rpms, key)
        write_legacy(self._at(""), self.release, "Packages/" + os.path.basename(rpms[0]))
        self._write_readme(note)
        return note

    def write_images(self, out: str) -> List[str]:
        """Write the ISO and the zip into ``out``; returns their paths."""
        name = "xentpm-{}-{}.{}".format(self.release.version, self.release.release, self.facts["machine"])
        iso, archive = [os.path.join(out, name + ending) for ending in (".iso", ".zip")]
        volume = "XENTPM_" + re.sub("[^0-9A-Z]", "_", self.release.version.upper())
        write_iso(self._at(""), iso, volume, self.epoch)
        write_zip(iso, archive, self.epoch)
        return [iso, archive]

    def _build_rpms(self) -> List[str]:
        common = {"pack_version": self.release.version, "pack_release": self.release.release}
        payload = dict(common, pack_payload=os.path.join(self.work, "payload"))
        payload["pack_grub"] = "1" if "grub" in self.facts else "0"
        update = dict(common, pack_uuid=self.release.uuid, pack_update_xml=self._at("update.xml"))
        os.utime(self._at("update.xml"), (self.epoch, self.epoch))
        made = []
        for name, macros in (("xentpm", payload), ("update-xentpm", update)):
            spec = os.path.join(self.repository, "packaging", name + ".spec")
            folder = os.path.join(self.work, "rpm-" + name)
            built = build_rpm(spec, folder, self.facts["machine"], self.epoch, macros)
            made.append(shutil.copy(built, self._at("Packages")))
        return made

    def _sign_and_index(self, rpms: List[str], key: Optional[str]) -> str:
        if not key:
            write_repodata(self._at(""), self.work, self.epoch, rpms)
            return _UNSIGNED
        signed = [self._at("update.xml"), self._at("repodata/repomd.xml")]
        with signer(key) as with_key:
            with_key.sign_rpms(rpms)
            write_repodata(self._at(""), self.work, self.epoch, rpms)
            for path in signed:
                with_key.sign(path)
            with_key.export(self._at(KEY_NAME))
            verify(self._at(KEY_NAME), with_key.fingerprint, signed, rpms)
            return _SIGNED.format(key=KEY_NAME, fingerprint=with_key.fingerprint)

    def _write_readme(self, note: str) -> None:
        with open(os.path.join(self.repository, "packaging/files/README.txt"), encoding="utf-8") as file:
            text = file.read()
        systems = self.facts["systems"].replace(" ", ", ")
        words = dict(self.facts, systems=systems, note=note, uuid=self.release.uuid)
        with open(self._at("README.txt"), "w", encoding="utf-8") as file:
            file.write(text.format(**words))


def _tell(text: str) -> None:
    """Progress, on stderr."""
    print("pack: " + text, file=sys.stderr, flush=True)


def _version(repository: str) -> str:
    with open(os.path.join(repository, "xentpm_lib/__init__.py"), encoding="utf-8") as file:
        found = re.search(r'^__version__ = "([0-9a-z.]+)"$', file.read(), re.MULTILINE)
    if found is None:
        raise PackError("xentpm_lib/__init__.py has no version that an RPM can have")
    return found.group(1)


def _epoch(repository: str) -> int:
    """The time that everything in the pack has: the last commit's, unless SOURCE_DATE_EPOCH is set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text and os.path.exists(os.path.join(repository, ".git")):
        text = run(["git", "-C", repository, "log", "-1", "--format=%ct"]).strip()
    if not re.match(r"^[0-9]{9,10}\Z", text):
        raise PackError(
            "there is no git history that tells the time of this source",
            "Set SOURCE_DATE_EPOCH to the time of the release, in seconds since 1970.",
        )
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_pack.py", description="Build the supplemental pack.")
    parser.add_argument("--out", default="dist", help="folder for the ISO and the zip (%(default)s)")
    parser.add_argument("--signing-key", metavar="KEY", help="a file with a secret key, or a key of yours")
    parser.add_argument(
        "--for",
        dest="systems",
        action="append",
        default=[],
        metavar="ID:VERSION",
        help="the hosts' ID and VERSION_ID of /etc/os-release, where they are not this machine's",
    )
    parser.add_argument("--cache", metavar="FOLDER", help="keep the compiled binding there")
    parser.add_argument("--with-grub", action="store_true", help="pack GRUB's modules, too (GPL-3)")
    return parser
