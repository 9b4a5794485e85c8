"""What is installed works by itself: commands, boot-time unit and plugin, with the pack's libraries only."""

import json
import re

import pytest

from support.dom0 import NONCE, PluginFailed
from support.pack_root import CONFIG
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.quote import QuoteEvidence

UNIT = "/usr/lib/systemd/system/xentpm.service"


def start_unit(root):
    """Run what the unit runs, in its order; the exit status that the unit would end with."""
    for ignored, command in re.findall(r"(?m)^ExecStart=(-?)(.+)$", root.read(UNIT)):
        finished = root.run(*command.split())
        assert finished.status in (0, 1), finished
        if finished.status and not ignored:
            return finished
    return finished


def test_a_restart_takes_a_free_tpm_and_the_plugin_attests(root_with_tpm):
    assert json.loads(root_with_tpm.call("tpm_get_status"))
    assert start_unit(root_with_tpm).status == 0
    assert root_with_tpm.run("/opt/xensource/tpm/xentpm", "--is_tpm_owned").status == 1
    identity = Identity.from_xml(root_with_tpm.call("tpm_get_attestation_identity"))
    assert identity.ak.attestation_key_faults() == ()
    evidence = QuoteEvidence.from_json(root_with_tpm.call("tpm_get_quote", nonce=NONCE))
    assert sorted(evidence.untrusted_pcrs["sha256"]) == list(range(24))


def test_an_upgrade_keeps_the_attestation_key(root_with_tpm, packs):
    before = root_with_tpm.call("tpm_get_attestation_identity")
    assert root_with_tpm.install(packs.of_version("0.2.0"), "--yes").status == 0
    assert root_with_tpm.call("tpm_get_attestation_identity") == before
    assert "0.2.0" in root_with_tpm.run("xentpm", "--version").out


def test_a_removal_leaves_the_tpm_as_it_is_used(root_with_tpm, packs):
    before = root_with_tpm.call("tpm_get_attestation_identity")
    root_with_tpm.sh("rpm -e xentpm")
    assert root_with_tpm.install(packs.plain).status == 0
    root_with_tpm.sh("cp {0}.rpmsave {0}".format(CONFIG))
    assert root_with_tpm.call("tpm_get_attestation_identity") == before


def test_the_libraries_are_the_packs_own(root_with_tpm):
    """There are no others in this tree; and an environment that names others changes nothing."""
    assert root_with_tpm.sh("find /usr /lib* -name 'libtss2*.so*'") == ""
    script = "LD_DEBUG=files LD_LIBRARY_PATH=/nowhere /opt/xensource/tpm/xentpm --get_aik_pem 2>&1"
    loaded = set(re.findall(r"calling init: (\S+)", root_with_tpm.sh(script)))
    ours = {path for path in loaded if "tss2" in path or "cffi" in path}
    assert len(ours) >= 7
    assert all(path.startswith("/opt/xensource/tpm/lib/") for path in ours), ours


def test_a_host_without_a_tpm_starts_and_tells_what_is_missing(root, packs):
    assert root.install(packs.plain).status == 0
    finished = start_unit(root)
    assert (finished.status, "There is no TPM on this machine" in finished.err) == (1, True)
    status = root.run("/opt/xensource/tpm/xentpm", "--status")
    assert (status.status, "Enable the TPM 2.0 in the BIOS" in status.out) == (1, True)
    assert "There is no TPM on this machine" in root.call("tpm_get_status")
    with pytest.raises(PluginFailed) as failed:
        root.call("tpm_get_quote", nonce=NONCE)
    assert failed.value.code == "XENTPM_NO_TPM"


def test_no_failure_of_the_unit_holds_up_the_host(root, packs):
    assert root.install(packs.plain).status == 0
    unit = root.read(UNIT)
    assert "TimeoutStartSec=180\n" in unit
    assert "WantedBy=multi-user.target\n" in unit
    assert not re.search(r"(?m)^(RequiredBy|OnFailure|FailureAction)", unit)


def test_the_report_tool_never_gets_the_configuration(root, packs):
    assert root.install(packs.plain).status == 0
    collected = root.read("/etc/xensource/bugtool/xentpm/stuff.xml")
    paths = re.findall(r"<files>(.*?)</files>", collected)
    assert paths and CONFIG not in paths
    assert "/var/log/xentpm" in root.read("/etc/logrotate.d/xentpm")
    password = re.search("(?m)^password=(.+)$", root.read(CONFIG)).group(1)
    for command in re.findall(r"<command[^>]*>(.*?)</command>", collected):
        finished = root.run("sh", "-c", command)
        assert password not in finished.out + finished.err
