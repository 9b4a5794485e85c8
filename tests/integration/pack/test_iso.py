"""The ISO: three doors, signatures, the same bytes from the same source, and what the builder refuses."""

import gzip
import hashlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile

import pytest

from support.pack_builds import REPOSITORY, start_build

KEY = "RPM-GPG-KEY-xentpm"
REPOMD = "{http://linux.duke.edu/metadata/repo}"


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def run(*command, **environment):
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **environment))


def test_the_same_source_gives_the_same_bytes(packs):
    assert contents(packs.plain.iso) == contents(packs.again.iso)
    assert contents(packs.plain.zip) == contents(packs.again.zip)


def test_the_zip_holds_the_iso(packs):
    with zipfile.ZipFile(packs.plain.zip) as archive:
        assert archive.namelist() == [os.path.basename(packs.plain.iso)]
        assert archive.read(archive.namelist()[0]) == contents(packs.plain.iso)


def test_the_iso_keeps_names_and_modes_and_all_belongs_to_root(packs):
    listed = run("xorriso", "-indev", packs.plain.iso, "-find", "/", "-exec", "lsdl").stdout
    assert re.search(r"-r-xr-xr-x +1 0 +0 .*'/install.sh'", listed), listed
    assert re.search(r"-r--r--r-- +1 0 +0 .*'/Packages/update-xentpm-\S+\.noarch\.rpm'", listed), listed


def test_the_door_up_to_7_0(packs):
    repository = ET.fromstring(packs.plain.read("XS-REPOSITORY"))
    assert (repository.get("originator"), repository.get("name")) == ("xentpm", "xentpm")
    assert re.fullmatch(r"[0-9.]+", repository.get("version") + repository.get("build"))
    (package,) = ET.fromstring(packs.plain.read("XS-PACKAGES"))
    data = contents(packs.plain.at(package.text))
    assert (package.get("type"), int(package.get("size"))) == ("rpm", len(data))
    assert package.get("md5") == hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("which", ["plain", "signed"])
def test_the_door_of_7_1_and_8(packs, which):
    build = packs.plain if which == "plain" else packs.signed()
    update = ET.fromstring(build.read("update.xml"))
    assert update.get("after-apply-guidance") == "restartHost"
    assert int(update.get("installation-size")) > 1000000
    assert update.find("name-description").text
    for data in ET.fromstring(build.read("repodata/repomd.xml")).iter(REPOMD + "data"):
        stored = contents(build.at(data.find(REPOMD + "location").get("href")))
        assert data.find(REPOMD + "checksum").text == hashlib.sha256(stored).hexdigest()
    primary = gzip.decompress(contents(build.at("repodata/primary.xml.gz"))).decode()
    assert hashlib.sha256(contents(build.rpm)).hexdigest() in primary
    comps = ET.fromstring(build.read("repodata/comps.xml"))
    assert comps.findtext("group/id") == "update"
    assert [request.text for request in comps.iter("packagereq")] == ["xentpm", "update-xentpm"]


def test_the_update_package_tells_xapi_what_is_applied(packs):
    (name,) = [name for name in os.listdir(packs.plain.at("Packages")) if name.startswith("update-")]
    path = packs.plain.at("Packages/" + name)
    uuid = ET.fromstring(packs.plain.read("update.xml")).get("uuid")
    assert run("rpm", "-qpl", path).stdout.split() == ["/var/update/applied/" + uuid]
    assert run("rpm", "-qp", "--qf", "%{ARCH}", path).stdout == "noarch"
    wanted = run("rpm", "-qp", "--qf", "xentpm = %{VERSION}-%{RELEASE}\n", packs.plain.rpm).stdout
    assert wanted in run("rpm", "-qpR", path).stdout


def test_the_payload_asks_nothing_of_the_hosts_package_database(packs):
    asked = run("rpm", "-qpR", packs.plain.rpm).stdout.split("\n")
    assert [line for line in asked if line and not line.startswith(("rpmlib(", "config("))] == []


def test_a_pack_without_a_signature_says_what_that_means(packs):
    assert "is not signed" in packs.plain.said
    assert "run ./install.sh instead" in packs.plain.read("README.txt")
    assert ET.fromstring(packs.plain.read("update.xml")).get("key") == ""
    assert not [name for _, _, names in os.walk(packs.plain.tree) for name in names if name.endswith(".asc")]


def test_every_signature_verifies_with_the_key_on_the_iso_alone(packs, tmp_path):
    build, home = packs.signed(), str(tmp_path)
    os.chmod(home, 0o700)
    assert ET.fromstring(build.read("update.xml")).get("key") == KEY
    try:
        assert run("gpg", "--batch", "--import", build.at(KEY), GNUPGHOME=home).returncode == 0
        for name in ("update.xml", "repodata/repomd.xml"):
            checked = run(
                "gpg", "--batch", "--verify", build.at(name + ".asc"), build.at(name), GNUPGHOME=home
            )
            assert checked.returncode == 0, checked
    finally:
        run("gpgconf", "--kill", "all", GNUPGHOME=home)
    database = ("--dbpath", os.path.join(home, "rpm"))
    assert run("rpm", *database, "--import", build.at(KEY)).returncode == 0
    for name in os.listdir(build.at("Packages")):
        checked = run("rpm", *database, "-K", build.at("Packages/" + name))
        assert checked.stdout.endswith(": digests signatures OK\n"), checked
    fingerprint = re.search("fingerprint: ([0-9A-F]{40})", build.read("README.txt"))
    assert fingerprint and fingerprint.group(1) in run("gpg", "--show-keys", build.at(KEY)).stdout


def test_a_signed_pack_is_installed_as_well(packs, root):
    finished = root.install(packs.signed())
    assert finished.status == 0, finished


@pytest.mark.parametrize(
    "python, options, environment, told",
    [
        (sys.executable, (), {}, "belongs to a virtual environment"),
        ("/usr/bin/python3", ("--for", "8.3"), {}, "is no ID:VERSION"),
        ("/usr/bin/python3", (), {"SOURCE_DATE_EPOCH": "soon"}, "Set SOURCE_DATE_EPOCH"),
        ("/usr/bin/python3", (), {"PATH": "/nowhere"}, "these programs are missing: rpmbuild"),
    ],
)
def test_the_builder_refuses(python, options, environment, told, tmp_path):
    process, out = start_build(REPOSITORY, str(tmp_path / "out"), *options, python=python, **environment)
    _, said = process.communicate()
    assert (process.returncode, told in said) == (1, True), said
    assert os.listdir(out) == []
