"""The preparation check: every check in each state that can be produced; it reads only."""

import json
import os

import pytest

from support.dom0 import NONCE, PASSWORD
from support.in_process import Answer, call, proxied
from support.tpm2_tools import OWNER, Tpm2Failed, tpm2
from support.tpm_proxy import response
from xentpm_lib import __version__
from xentpm_lib.host import actions, functions, tpm_checks
from xentpm_lib.host.status import status_of

NAMES = [
    "config",
    "tpm_present",
    "tpm_version",
    "tpm_enabled",
    "tpm_lockout",
    "tpm_owned",
    "ek_certificate",
    "pcr_banks",
    "grub_measured",
    "dynamic_launch",
    "asset_tag",
    "asset_tag_pcr",
    "identifiers",
    "boot_mode",
    "secure_boot",
    "boot_image",
    "measured_boot_setup",
    "event_log",
    "aes_ni",
    "smx",
    "pack_version",
]
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def _checks(dom0):
    return {check.name: check for check in status_of(dom0.paths).checks}


def _is(dom0, name, state, seen):
    check = _checks(dom0)[name]
    assert (check.state, seen in check.seen) == (state, True), check
    if state in ("warning", "failed"):
        assert check.advice
    return check


def _measure(dom0, *pcrs):
    for pcr in pcrs:
        dom0.tpm.extend(pcr, {"sha1": b"\1" * 20, "sha256": b"\1" * 32})


def test_all_checks_in_order(dom0):
    status = status_of(dom0.paths)
    assert [check.name for check in status.checks] == NAMES
    assert len({check.title for check in status.checks}) == len(NAMES)


def test_a_host_that_is_ready(dom0):
    _measure(dom0, 8, 9)
    dom0.configure(asset_tag_pcr=None)
    with open(dom0.paths.at(SECURE_BOOT), "wb") as file:
        file.write(b"\6\0\0\0\0")
    status = status_of(dom0.paths)
    assert [check for check in status.checks if check.state != "ok"] == []
    assert status.state == "ok"
    assert not any(check.advice for check in status.checks)


def test_json_and_table(dom0):
    status = status_of(dom0.paths)
    told = json.loads(call(dom0, functions.get_status))
    assert sorted(told) == ["checks", "state", "version"]
    assert told["version"] == 1
    assert told["checks"] == [dict(check._asdict()) for check in status.checks]
    table = status.to_table()
    unwrapped = " ".join(table.split())
    assert all(len(line) < 80 or "/" in line for line in table.split("\n"))
    for check in status.checks:
        assert check.title in table
        assert " ".join(check.seen.split()) in unwrapped
        assert check.advice in unwrapped
    assert PASSWORD not in table + json.dumps(told)


# The configuration


def test_config(dom0):
    _is(dom0, "config", "ok", dom0.paths.config)
    os.chmod(dom0.paths.config, 0o644)
    check = _is(dom0, "config", "warning", "can be read by others (mode 0644)")
    assert "chmod 0600" in check.advice
    os.chmod(dom0.paths.config, 0o666)
    _is(dom0, "config", "failed", "can be written by others")


@pytest.mark.parametrize("text", ["", "junk", "password=1", "password={}\nx=1".format(PASSWORD)])
def test_config_that_is_wrong(dom0, text):
    dom0.write_config(text)
    _is(dom0, "config", "failed", "")
    _is(dom0, "tpm_present", "failed", "/dev/tpmrm0")  # looked for at its usual place
    _is(dom0, "pack_version", "ok", __version__)


def test_a_wrong_config_beside_a_tpm_at_its_usual_place(dom0, monkeypatch):
    """Whose the TPM is cannot be told without the password; the rest can."""
    usual = tpm_checks.Config
    monkeypatch.setattr(tpm_checks, "Config", lambda **fields: usual(tcti=dom0.tpm.tcti, **fields))
    dom0.write_config("junk")
    _is(dom0, "config", "failed", "")
    _is(dom0, "tpm_owned", "unknown", "")
    _is(dom0, "ek_certificate", "ok", "RSA")


# The TPM


def test_no_tpm(bare_dom0):
    _is(bare_dom0, "tpm_present", "failed", "There is no TPM on this machine")
    for name in NAMES[2:12]:
        _is(bare_dom0, name, "unknown", "no answer from a TPM")
    assert status_of(bare_dom0.paths).state == "failed"


def test_present(dom0):
    _is(dom0, "tpm_present", "ok", dom0.tpm.tcti)
    check = _is(dom0, "tpm_version", "ok", "2.0 ")
    assert "firmware" in check.seen


def _property(number, value):
    """A rule: GetCapability tells another value for this property."""

    def rule(command):
        if command.name != "GetCapability":
            return None
        answer = command.ask(command.data)
        at = answer.find(number.to_bytes(4, "big"), 19)
        return answer if at < 0 else answer[: at + 4] + value.to_bytes(4, "big") + answer[at + 8 :]

    return rule


def test_another_version(dom0):
    with proxied(dom0, _property(0x100, int.from_bytes(b"1.2\0", "big"))):
        check = _is(dom0, "tpm_version", "failed", "1.2")
    assert "TPM 2.0" in check.advice


def test_enabled(dom0):
    _is(dom0, "tpm_enabled", "ok", "yes")
    tpm2(dom0, "hierarchycontrol", "-C", "p", "shEnable", "clear")
    _is(dom0, "tpm_enabled", "failed", "storage")
    tpm2(dom0, "hierarchycontrol", "-C", "p", "ehEnable", "clear")
    check = _is(dom0, "tpm_enabled", "failed", "storage")
    assert "endorsement" in check.seen and "BIOS" in check.advice


def test_lockout(dom0):
    _is(dom0, "tpm_lockout", "ok", "not locked, 0 of ")
    tpm2(dom0, "dictionarylockout", "-s", "-n", "1", "-t", "1000", "-l", "1000", "-p", OWNER)
    attributes = "ownerread|ownerwrite|authread|authwrite"
    tpm2(dom0, "nvdefine", "0x1500020", "-C", "o", "-s", "4", "-a", attributes, "-p", "right", "-P", OWNER)
    with pytest.raises(Tpm2Failed):
        tpm2(dom0, "nvread", "0x1500020", "-C", "0x1500020", "-P", "wrong")
    check = _is(dom0, "tpm_lockout", "warning", "locked, 1 of 1 wrong passwords")
    assert "lockout password" in check.advice
    call(dom0, functions.get_quote, nonce=NONCE)  # as the advice says


def test_owned(new_dom0):
    check = _is(new_dom0, "tpm_owned", "warning", "free")
    assert "--take_ownership" in check.advice
    actions.take_ownership(new_dom0.host(), "")
    _is(new_dom0, "tpm_owned", "ok", "by this host")
    tpm2(new_dom0, "changeauth", "-c", "o", "-p", OWNER, "theirs")
    _is(new_dom0, "tpm_owned", "failed", "by somebody else")


def test_owned_by_the_old_default(new_dom0):
    """It is not somebody else's: the next boot moves it."""
    tpm2(new_dom0, "changeauth", "-c", "o", "hex:3beac9388f9b489d50bb01e2ff0fa2aaa9ee1d73")
    assert "--take_ownership" in _is(new_dom0, "tpm_owned", "warning", "").advice


def test_ek_certificate(new_dom0):
    _is(new_dom0, "ek_certificate", "ok", "RSA, ")
    tpm2(new_dom0, "nvundefine", "0x1c00002", "-C", "p")
    assert "pin" in _is(new_dom0, "ek_certificate", "warning", "none for this endorsement key").advice
    attributes = "ppwrite|ppread|ownerread|authread|no_da|platformcreate"
    tpm2(new_dom0, "nvdefine", "0x1c00002", "-C", "p", "-s", "8", "-a", attributes)
    new_dom0.write("garbage", "garbage!")
    tpm2(new_dom0, "nvwrite", "0x1c00002", "-C", "p", "-i", new_dom0.paths.at("garbage"))
    _is(new_dom0, "ek_certificate", "unknown", "XenServer could not parse TPM certificate")
    tpm2(new_dom0, "evictcontrol", "-C", "o", "-c", "0x81010001")
    assert "--get_ekey" in _is(new_dom0, "ek_certificate", "unknown", "no endorsement key yet").advice


def test_banks(dom0):
    _is(dom0, "pcr_banks", "ok", "sha1, sha256")
    tpm2(dom0, "pcrallocate", "sha1:all+sha256:none")
    dom0.tpm.power_cycle()
    check = _is(dom0, "pcr_banks", "failed", "sha1")
    assert "SHA-256" in check.advice
    _is(dom0, "grub_measured", "warning", "zero")  # read in the bank that there is
    tpm2(dom0, "pcrallocate", "sha1:none+sha384:all")
    dom0.tpm.power_cycle()
    _is(dom0, "pcr_banks", "ok", "sha384")


def test_a_bank_that_firmware_does_not_measure(dom0):
    dom0.tpm.extend(0, {"sha1": b"1" * 20})
    check = _is(dom0, "pcr_banks", "failed", "sha1, sha256; not measured: sha256")
    assert "BIOS" in check.advice
    dom0.tpm.extend(4, {"sha256": b"1" * 32})
    _is(dom0, "pcr_banks", "ok", "sha1, sha256")


def test_no_bank_at_all(dom0):
    """TPM2_GetCapability(PCRS) tells of no bank."""

    def rule(command):
        if command.name != "GetCapability" or command.data[10:14] != b"\0\0\0\5":
            return None
        return response(0)[:2] + b"\0\0\0\x13" + bytes(4) + b"\0" + b"\0\0\0\5" + bytes(4)

    with proxied(dom0, rule):
        _is(dom0, "pcr_banks", "failed", "none")
        _is(dom0, "grub_measured", "unknown", "no active PCR bank")


def test_measured_boot(dom0):
    assert "xentpm-boot" in _is(dom0, "grub_measured", "warning", "PCR 8 and 9 are zero").advice
    _measure(dom0, 8)
    _is(dom0, "grub_measured", "warning", "")
    _measure(dom0, 9)
    _is(dom0, "grub_measured", "ok", "PCR 8 and 9 are extended")


def test_dynamic_launch(dom0):
    _is(dom0, "dynamic_launch", "ok", "did not happen")
    dom0.tpm.dynamic_launch(b"SINIT")
    _is(dom0, "dynamic_launch", "ok", "happened: PCR 17 is extended")
    _is(dom0, "grub_measured", "ok", "the dynamic launch measures instead")


def test_asset_tag(dom0):
    _is(dom0, "asset_tag", "ok", "none")
    _is(dom0, "asset_tag_pcr", "ok", "PCR 15 is up to date")
    call(dom0, functions.set_asset_tag, tag="a5" * 20)
    _is(dom0, "asset_tag", "ok", "a5" * 20)
    assert "Restart" in _is(dom0, "asset_tag_pcr", "warning", "PCR 15").advice
    dom0.tpm.power_cycle()
    actions.boot(dom0.host(), "")
    _is(dom0, "asset_tag_pcr", "ok", "PCR 15 is up to date")
    dom0.configure(asset_tag_pcr="none")
    _is(dom0, "asset_tag_pcr", "ok", "off")


def test_a_check_that_the_tpm_refuses_takes_no_other_with_it(dom0):
    with proxied(dom0, Answer("PCR_Read", 0x1FE)):
        checks = _checks(dom0)
    assert {name for name, check in checks.items() if check.state == "unknown"} == {
        "pcr_banks",
        "grub_measured",
        "dynamic_launch",
        "asset_tag_pcr",
        "secure_boot",
    }
    assert checks["tpm_owned"].state == "ok"


def test_a_tpm_in_failure_mode(dom0):
    with proxied(
        dom0, lambda command: None if command.name == "GetCapability" else Answer(None, 0x101)(command)
    ):
        checks = _checks(dom0)
    assert [name for name in NAMES[1:12] if checks[name].state == "failed"] or checks[
        "tpm_owned"
    ].state == "unknown"
    assert "failure mode" in " ".join(check.seen for check in checks.values())


# dom0's files


def test_files(bare_dom0):
    _is(bare_dom0, "identifiers", "ok", "host 2c6f1a52")
    _is(bare_dom0, "boot_mode", "ok", "UEFI")
    _is(bare_dom0, "secure_boot", "unknown", "does not tell")
    _is(bare_dom0, "event_log", "ok", "none")
    _is(bare_dom0, "aes_ni", "ok", "yes")
    _is(bare_dom0, "smx", "ok", "yes")


@pytest.mark.parametrize("value, seen", [(0, "off"), (1, "on")])
def test_secure_boot(bare_dom0, value, seen):
    with open(bare_dom0.paths.at(SECURE_BOOT), "wb") as file:
        file.write(bytes([6, 0, 0, 0, value]))
    _is(bare_dom0, "secure_boot", "ok", seen)


def test_a_legacy_host(bare_dom0):
    os.removedirs(bare_dom0.paths.at("sys/firmware/efi/efivars"))
    _is(bare_dom0, "boot_mode", "ok", "legacy BIOS")
    assert _checks(bare_dom0)["secure_boot"].state == "ok"


def test_processor(bare_dom0):
    bare_dom0.write("proc/cpuinfo", "flags : fpu\n")
    assert "BIOS" in _is(bare_dom0, "aes_ni", "warning", "").advice
    assert _checks(bare_dom0)["smx"].state in ("ok", "warning")
    bare_dom0.write("proc/cpuinfo", "")
    _is(bare_dom0, "aes_ni", "unknown", "cannot be read")
    _is(bare_dom0, "smx", "unknown", "cannot be read")


def test_event_log(bare_dom0):
    path = bare_dom0.paths.at("sys/kernel/security/tpm0/binary_bios_measurements")
    with open(path, "wb") as file:
        file.write(b"x" * 100)
    _is(bare_dom0, "event_log", "ok", "100 bytes")
    os.truncate(path, (2 << 20) + 1)
    _is(bare_dom0, "event_log", "warning", "more than 2097152 bytes")


def test_identifiers(bare_dom0):
    bare_dom0.write("etc/xensource-inventory", "")
    _is(bare_dom0, "identifiers", "failed", "INSTALLATION_UUID")


# It reads only


def test_nothing_is_changed(new_dom0):
    def state():
        kinds = ("properties-variable", "handles-persistent", "handles-nv-index", "handles-transient", "pcrs")
        return [tpm2(new_dom0, "getcap", kind) for kind in kinds] + [tpm2(new_dom0, "pcrread")]

    before, files = state(), sorted(os.listdir(new_dom0.paths.at("var/lib")))
    status_of(new_dom0.paths)
    assert state() == before
    assert sorted(os.listdir(new_dom0.paths.at("var/lib"))) == files


def test_commands_are_reading_ones(dom0):
    with proxied(dom0) as proxy:
        status_of(dom0.paths)
        sent = set(proxy.commands)
    assert sent <= {"GetCapability", "ReadPublic", "NV_ReadPublic", "NV_Read", "PCR_Read", "ClockRateAdjust"}


def test_a_change_cut_short_is_left_to_who_may_change(dom0):
    call(dom0, functions.set_asset_tag, tag="a5" * 20)
    path = dom0.paths.at("var/lib/xentpm/asset_tag.pending")
    with open(path, "w") as file:
        file.write("b6" * 20)
    _is(dom0, "asset_tag", "ok", "a5" * 20)
    assert os.path.exists(path)
