"""`install.sh` from the ISO: what it asks, what it refuses, what it leaves; upgrade and removal."""

import os
import subprocess

import pytest

from support.pack_root import CONFIG, PackRoot

QUESTION = "Do you want to continue? (Y/N) "
RECORD = "/etc/xensource/installed-repos/xentpm:xentpm"
OLDER, NEWER = "0.0.9", "0.2.0"


def installed(root):
    return root.run("rpm", "-q", "--qf", "%{VERSION}", "xentpm").out


@pytest.fixture
def with_pack(root, packs):
    """A dom0 in which the pack is installed and everything was used once."""
    finished = root.install(packs.plain)
    assert finished.status == 0, finished
    return root


def test_a_first_installation_asks_nothing_and_is_complete(root, packs):
    finished = root.install(packs.plain)
    assert (finished.status, finished.err) == (0, "")
    assert QUESTION not in finished.out
    assert "Restart this host" in finished.out
    assert root.run("rpm", "-V", "xentpm").out == ""
    assert root.sh("stat -c '%a %U %n' {} /etc/xapi.d/plugins/tpm".format(CONFIG)).split("\n")[:2] == [
        "600 root " + CONFIG,
        "755 root /etc/xapi.d/plugins/tpm",
    ]
    assert root.read(RECORD + "/XS-REPOSITORY") == packs.plain.read("XS-REPOSITORY")
    assert root.read(RECORD + "/XS-PACKAGES") == packs.plain.read("XS-PACKAGES")
    wanted = "/etc/systemd/system/multi-user.target.wants/xentpm.service"
    assert root.sh("readlink -f " + wanted) == "/usr/lib/systemd/system/xentpm.service\n"
    assert " installed xentpm-" in root.read("/var/log/xentpm/install.log")


def test_nothing_of_the_library_is_left_out_and_nothing_is_too_much(with_pack):
    found = with_pack.sh("cd /opt/xensource/tpm/lib && find . -maxdepth 2 | sort").split()
    assert {"./xentpm_lib/evidence", "./xentpm_lib/tpm", "./xentpm_lib/host"} <= set(found)
    assert not {"./xentpm_lib/verifier", "./xentpm_lib/simulator"} & set(found)
    assert with_pack.sh("find /opt/xensource/tpm -name '*.py' -newer /opt/xensource/tpm/platform.json") == ""


def test_use_leaves_no_file_that_a_removal_would_not_find(with_pack):
    for command in ("xentpm --status", "xentpm-boot status"):
        with_pack.run("sh", "-c", "/opt/xensource/tpm/" + command)
    owned = set(with_pack.sh("rpm -ql xentpm").split("\n"))
    assert set(with_pack.sh("find /opt/xensource/tpm").split("\n")) <= owned


@pytest.mark.parametrize("answer", ["n\n", "N\n", "what\nno\n", ""])
def test_the_same_version_again_can_be_declined(with_pack, packs, answer):
    before = with_pack.listing()
    finished = with_pack.install(packs.plain, stdin=answer)
    assert finished.status == 4
    assert "is installed already" in finished.out and QUESTION in finished.out
    assert "Nothing was changed" in finished.err
    assert with_pack.listing() == before


def test_the_same_version_again_mends_what_was_damaged(with_pack, packs):
    with_pack.sh("echo >/etc/xapi.d/plugins/tpm; rm /opt/xensource/tpm/lib/libtss2-esys.so.0")
    finished = with_pack.install(packs.plain, stdin="y\n")
    assert finished.status == 0, finished
    assert with_pack.run("rpm", "-V", "xentpm").out == ""
    with_pack.sh("test -e /etc/systemd/system/multi-user.target.wants/xentpm.service")
    with_pack.sh("test -s {}/XS-PACKAGES".format(RECORD))


def test_an_upgrade_keeps_the_configuration_the_state_and_the_unit_switched_off(root, packs):
    assert root.install(packs.of_version(OLDER)).status == 0
    root.sh("echo '# mine' >>{}; mkdir -p /var/lib/xentpm; echo key >/var/lib/xentpm/state".format(CONFIG))
    root.sh("rm /etc/systemd/system/multi-user.target.wants/xentpm.service")
    before = root.read(CONFIG)
    finished = root.install(packs.plain, stdin="Y\n")
    assert finished.status == 0, finished
    assert "will be upgraded" in finished.out
    assert installed(root) != OLDER
    assert (root.read(CONFIG), root.read("/var/lib/xentpm/state")) == (before, "key\n")
    assert root.sh("stat -c %a " + CONFIG) == "600\n"
    assert root.run("test", "-e", "/etc/systemd/system/multi-user.target.wants/xentpm.service").status == 1


def test_a_script_goes_back_to_an_older_version_without_being_asked(root, packs):
    assert root.install(packs.of_version(NEWER)).status == 0
    finished = root.install(packs.of_version(OLDER), "--yes")
    assert finished.status == 0, finished
    assert "which is newer" in finished.out and QUESTION not in finished.out
    assert installed(root) == OLDER


def test_another_system_is_refused_before_anything_is_changed(root, packs):
    root.write("/etc/os-release", 'ID="xenenterprise"\nVERSION_ID="8.3.0"\n')
    before = root.listing()
    finished = root.install(packs.plain, "--yes")
    assert finished.status == 3
    assert "this host is xenenterprise:8.3.0. Nothing was changed." in finished.err
    assert root.listing() == before


@pytest.mark.parametrize(
    "damage, told",
    [
        ("rm /usr/bin/python3", "this pack needs /usr/bin/python3"),
        ("find /usr/lib /usr/lib64 -name 'libcrypto.so*' -delete", "lacks what this pack needs"),
    ],
)
def test_a_system_that_lacks_something_is_refused(root, packs, damage, told):
    root.sh(damage)
    before = root.listing()
    finished = root.install(packs.plain)
    assert (finished.status, told in finished.err) == (3, True), finished
    assert root.listing() == before


def test_a_full_disk_is_told_before_anything_is_changed(packs, tmp_path):
    with PackRoot(tmp_path, opt_size="1m") as root:
        before = root.listing()
        finished = root.install(packs.plain)
        assert finished.status == 5
        assert "of free space" in finished.err and "Nothing was changed" in finished.err
        assert root.listing() == before


def test_only_root_installs(root, packs):
    finished = root.install(packs.plain, user="65534:65534")
    assert (finished.status, "has to run as root" in finished.err) == (1, True)


def test_help_and_unknown_options(root, packs):
    finished = root.install(packs.plain, "--help")
    assert (finished.status, finished.err) == (0, "")
    assert "Exit status:" in finished.out
    finished = root.install(packs.plain, "--yes", "--force")
    assert (finished.status, "there is no option --force" in finished.err) == (2, True)
    assert installed(root) == "package xentpm is not installed\n"


def test_a_damaged_iso_is_told(root, packs):
    root.mount(packs.plain.tree, "/mnt")
    name = os.path.basename(packs.plain.rpm)
    root.sh("cp -r /mnt /root/iso; chmod -R u+w /root/iso; echo >>/root/iso/Packages/" + name)
    finished = root.run("/root/iso/install.sh")
    assert (finished.status, "is damaged. Nothing was changed." in finished.err) == (1, True), finished


def test_a_plugin_of_somebody_else_is_not_overwritten_in_silence(root, packs, tmp_path):
    root.write("/etc/xapi.d/plugins/tpm", "by hand\n")
    root.write(CONFIG, "password=old\n")
    assert root.install(packs.plain, stdin="n\n").status == 4
    assert root.read("/etc/xapi.d/plugins/tpm") == "by hand\n"
    root.sh("rm -r /opt/xensource")
    root.mount(foreign_package(str(tmp_path)), "/mnt")
    root.sh("rm /etc/xapi.d/plugins/tpm; rpm -i /mnt/noarch/closed-1-1.noarch.rpm")
    finished = root.install(packs.plain, "--yes")
    assert finished.status == 1
    assert "rpm -e closed" in finished.err and "Nothing was changed" in finished.err


def foreign_package(folder):
    """An RPM of another maker with a plugin of this name; the folder with it."""
    spec = os.path.join(folder, "closed.spec")
    with open(spec, "w") as file:
        file.write(
            "Name: closed\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n"
            "AutoReqProv: no\n%description\nx\n%install\nmkdir -p %{buildroot}/etc/xapi.d/plugins\n"
            "echo closed >%{buildroot}/etc/xapi.d/plugins/tpm\n%files\n/etc/xapi.d/plugins/tpm\n"
        )
    command = ["rpmbuild", "-bb", "--quiet", "--define", "_topdir " + folder, spec]
    subprocess.run(command, check=True, capture_output=True)
    return os.path.join(folder, "RPMS")


def test_a_removal_keeps_what_the_host_needs_and_nothing_else(with_pack):
    with_pack.sh(
        "echo '# mine' >>{}; mkdir -p /var/lib/xentpm; echo key >/var/lib/xentpm/state".format(CONFIG)
    )
    changed = with_pack.read(CONFIG)
    finished = with_pack.run("rpm", "-e", "xentpm")
    assert finished.status == 0, finished
    left = with_pack.sh(
        "find /opt /etc/xapi.d /etc/xensource /etc/systemd /etc/logrotate.d -not -type d"
    ).split()
    assert left == [CONFIG + ".rpmsave"]
    assert with_pack.read(left[0]) == changed
    assert with_pack.sh("stat -c %a " + left[0]) == "600\n"
    assert with_pack.read("/var/lib/xentpm/state") == "key\n"


def test_a_removal_stops_where_the_boot_loader_cannot_be_put_back(with_pack):
    with_pack.write("/var/lib/xentpm/boot/setup.json", "damaged")
    before = with_pack.sh("find /opt /etc/xapi.d /etc/systemd | sort")
    finished = with_pack.run("rpm", "-e", "xentpm")
    assert finished.status != 0
    assert "nothing was removed" in finished.err
    assert with_pack.sh("find /opt /etc/xapi.d /etc/systemd | sort") == before
    assert with_pack.run("rpm", "-q", "xentpm").status == 0
