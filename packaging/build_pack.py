"""Build the supplemental pack for the platform of the interpreter that runs this: RPMs, ISO, zip.

    python3 packaging/build_pack.py [--out dist] [--signing-key FILE|KEY] [--for ID:VERSION]… [--with-grub]

See docs/build-pack.md. Exit status 0 done, 1 failed, 2 usage.
"""

import argparse
import glob
import os
import re
import shutil
import sys
import tempfile
from typing import Dict, List, Optional

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(REPOSITORY, "packaging"))
sys.dont_write_bytecode = True

from pack.iso import write_iso, write_zip  # noqa: E402
from pack.payload import installed_bytes, make_payload, set_times, write_facts  # noqa: E402
from pack.payload import HOME  # noqa: E402
from pack.platform_facts import Platform  # noqa: E402
from pack.repository import Release, write_legacy, write_repodata, write_update  # noqa: E402
from pack.rpms import build_rpm  # noqa: E402
from pack.signing import KEY_NAME, signer, verify  # noqa: E402
from pack.tools import PackError, missing_tools, run  # noqa: E402

RELEASE = "1"
UNSIGNED = (
    "This pack is not signed: xe-install-supplemental-pack (7.1 and later) refuses it with `Invalid signature`.\n"
    "Mount the ISO on the host and run ./install.sh instead; it needs no signature."
)
SIGNED = (
    "For xe-install-supplemental-pack (7.1 and later), once on every host: import-update-key {key}\n"
    "The key's fingerprint: {fingerprint}. Compare it with what who gave you this pack says."
)


def main() -> int:
    """Build what the command line asks for and print the paths; returns the exit status."""
    options = _parser().parse_args()
    try:
        for path in build(options):
            print(path)
    except PackError as error:
        print("pack: {}".format(error.message), file=sys.stderr)
        if error.hint:
            print("hint: {}".format(error.hint), file=sys.stderr)
        return 1
    return 0


def build(options: argparse.Namespace) -> List[str]:
    """Build the pack; returns the paths of the ISO and the zip. Raises: PackError."""
    _check_tools(bool(options.signing_key))
    platform = Platform.of_this_machine(options.systems)
    release = Release(_version(), "{}.{}".format(RELEASE, platform.label))
    epoch = _epoch()
    out = os.path.abspath(options.out)
    os.makedirs(out, exist_ok=True)
    work = tempfile.mkdtemp(prefix="xentpm-pack.")
    try:
        tell("collecting what dom0 of {} {} needs (a minute)".format(*platform.systems[0]))
        facts = _payload(work, platform, release, epoch, options.with_grub)
        tell("building the RPMs and the ISO")
        return _pack(work, out, release, epoch, facts, options.signing_key)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def tell(text: str) -> None:
    """Progress, on stderr."""
    print("pack: " + text, file=sys.stderr, flush=True)


def _payload(work: str, platform: Platform, release: Release, epoch: int, grub: bool) -> Dict[str, str]:
    root = os.path.join(work, "payload")
    facts = make_payload(REPOSITORY, work, root, platform, grub)
    facts.update(name="xentpm", version=release.version, release=release.release)
    set_times(root, epoch, HOME + "/lib")
    facts["installed_bytes"] = str(installed_bytes(root))
    write_facts(root, facts)
    set_times(root, epoch, HOME + "/lib")
    return facts


def _pack(work: str, out: str, release: Release, epoch: int, facts: Dict[str, str], key: Optional[str]) -> List[str]:
    tree = os.path.join(work, "iso")
    packages = os.path.join(tree, "Packages")
    os.makedirs(packages)
    write_update(os.path.join(tree, "update.xml"), release, int(facts["installed_bytes"]), KEY_NAME if key else "")
    rpms = _rpms(work, tree, release, epoch, facts, packages)
    shutil.copy(os.path.join(work, "payload", HOME, "platform.json"), tree)
    shutil.copy(os.path.join(REPOSITORY, "packaging/install.sh"), tree)
    os.chmod(os.path.join(tree, "install.sh"), 0o755)
    shutil.copy(os.path.join(REPOSITORY, "LICENSE"), tree)
    note = _sign_and_index(work, tree, epoch, rpms, key)
    write_legacy(tree, release, os.path.relpath(rpms[0], tree))
    _readme(tree, release, facts, note)
    iso = os.path.join(out, "xentpm-{}-{}.{}.iso".format(release.version, release.release, facts["machine"]))
    write_iso(tree, iso, "XENTPM_" + re.sub("[^0-9A-Z]", "_", release.version.upper()), epoch)
    write_zip(iso, iso[:-4] + ".zip", epoch)
    tell(note.split("\n")[0])
    return [iso, iso[:-4] + ".zip"]


def _rpms(work: str, tree: str, release: Release, epoch: int, facts: Dict[str, str], packages: str) -> List[str]:
    macros = {"pack_version": release.version, "pack_release": release.release}
    payload = dict(macros, pack_payload=os.path.join(work, "payload"), pack_grub="1" if "grub" in facts else "0")
    update = dict(macros, pack_uuid=release.uuid, pack_update_xml=os.path.join(tree, "update.xml"))
    os.utime(update["pack_update_xml"], (epoch, epoch))
    made = []
    for name, values in (("xentpm", payload), ("update-xentpm", update)):
        spec = os.path.join(REPOSITORY, "packaging", name + ".spec")
        built = build_rpm(spec, os.path.join(work, "rpm-" + name), facts["machine"], epoch, values)
        made.append(shutil.copy(built, packages))
    return made


def _sign_and_index(work: str, tree: str, epoch: int, rpms: List[str], key: Optional[str]) -> str:
    """Write repodata, and all signatures where there is a key; returns what to say about them."""
    if not key:
        write_repodata(tree, work, epoch, rpms)
        return UNSIGNED
    signed = [os.path.join(tree, name) for name in ("update.xml", "repodata/repomd.xml")]
    public = os.path.join(tree, KEY_NAME)
    with signer(key) as with_key:
        with_key.sign_rpms(rpms)
        write_repodata(tree, work, epoch, rpms)
        for path in signed:
            with_key.sign(path)
        with_key.export(public)
        verify(public, with_key.fingerprint, signed, rpms)
        return SIGNED.format(key=KEY_NAME, fingerprint=with_key.fingerprint)


def _readme(tree: str, release: Release, facts: Dict[str, str], note: str) -> None:
    with open(os.path.join(REPOSITORY, "packaging/files/README.txt"), encoding="utf-8") as file:
        text = file.read()
    words = dict(facts, systems=facts["systems"].replace(" ", ", "), note=note, uuid=release.uuid)
    with open(os.path.join(tree, "README.txt"), "w", encoding="utf-8") as file:
        file.write(text.format(**words))


def _check_tools(signing: bool) -> None:
    missing = missing_tools(signing)
    if missing:
        raise PackError(
            "these programs are missing: {}".format(", ".join(tool.command for tool in missing)),
            "yum install {}  or  apt-get install {}".format(
                " ".join(sorted({tool.red_hat for tool in missing})), " ".join(sorted({tool.debian for tool in missing}))
            ),
        )


def _version() -> str:
    with open(os.path.join(REPOSITORY, "xentpm_lib/__init__.py"), encoding="utf-8") as file:
        found = re.search(r'^__version__ = "([0-9a-z.]+)"$', file.read(), re.MULTILINE)
    if found is None:
        raise PackError("xentpm_lib/__init__.py has no version that an RPM can have")
    return found.group(1)


def _epoch() -> int:
    """The time that everything in the pack has: the last commit's, unless SOURCE_DATE_EPOCH is set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text and glob.glob(os.path.join(REPOSITORY, ".git")):
        text = run(["git", "-C", REPOSITORY, "log", "-1", "--format=%ct"]).strip()
    if not re.match(r"^[0-9]{9,10}\Z", text):
        raise PackError(
            "there is no git history that tells the time of this source",
            "Set SOURCE_DATE_EPOCH to the time of the release, in seconds since 1970.",
        )
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_pack.py", description="Build the supplemental pack of xentpm.")
    parser.add_argument("--out", default="dist", help="folder for the ISO and the zip (%(default)s)")
    parser.add_argument("--signing-key", metavar="KEY", help="file with a secret key, or a key of your key ring")
    parser.add_argument(
        "--for", dest="systems", action="append", default=[], metavar="ID:VERSION",
        help="the hosts' ID and VERSION_ID of /etc/os-release, where they are not this machine's",
    )
    parser.add_argument("--with-grub", action="store_true", help="pack GRUB's modules and grub-mkimage (GPL-3)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
