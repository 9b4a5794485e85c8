"""The PCR that carries the asset tag: extended once per boot, behind the index until then."""

import hashlib
import json

import pytest

from support.in_process import call, proxied
from support.tpm2_tools import OWNER, tpm2
from xentpm_lib.errors import XenTpmError
from xentpm_lib.host import actions, functions

TAGS = {size: bytes([size]) * size for size in (20, 32, 48)}


def _boot(dom0):
    return actions.boot(dom0.host(), "").text


def _reboot(dom0):
    dom0.tpm.power_cycle()
    return _boot(dom0)


def _set(dom0, tag):
    return json.loads(call(dom0, functions.set_asset_tag, tag=tag.hex()))["reboot_required"]


def _clear(dom0):
    return json.loads(call(dom0, functions.clear_asset_tag))["reboot_required"]


def _required(dom0):
    return json.loads(call(dom0, functions.get_asset_tag))["reboot_required"]


def _expected(bank, tag):
    """PCR = H(zeros || value), where the value is the tag if it has the bank's size, else its hash."""
    size = hashlib.new(bank).digest_size
    value = tag if len(tag) == size else hashlib.new(bank, tag).digest()
    return hashlib.new(bank, bytes(size) + value).digest()


@pytest.mark.parametrize("size", sorted(TAGS))
def test_every_bank(sha384_dom0, size):
    tag = TAGS[size]
    assert _set(sha384_dom0, tag)
    _reboot(sha384_dom0)
    for bank in ("sha1", "sha256", "sha384"):
        assert sha384_dom0.tpm.read_pcr(bank, 15) == _expected(bank, tag)
    assert not _required(sha384_dom0)


def test_once_per_boot(dom0):
    _set(dom0, TAGS[20])
    assert "in PCR 15" in _reboot(dom0)
    value = dom0.tpm.read_pcr("sha256", 15)
    with proxied(dom0) as proxy:
        for _ in range(3):
            _boot(dom0)
        assert "PCR_Extend" not in proxy.commands
    assert dom0.tpm.read_pcr("sha256", 15) == value
    assert "in PCR 15" in _reboot(dom0)
    assert dom0.tpm.read_pcr("sha256", 15) == value


def test_reboot_required(dom0):
    assert not _required(dom0)
    assert _set(dom0, TAGS[20])
    assert _required(dom0)
    _reboot(dom0)
    assert not _required(dom0)
    assert not _set(dom0, TAGS[20])  # the same again
    assert _set(dom0, TAGS[32])
    assert not _set(dom0, TAGS[20])  # and back
    assert _clear(dom0)
    _reboot(dom0)
    assert not _required(dom0)
    assert dom0.tpm.read_pcr("sha256", 15) == bytes(32)
    assert not _clear(dom0)


def test_the_first_tag_is_in_the_pcr_without_a_reboot_where_the_boot_unit_runs_again(dom0):
    _set(dom0, TAGS[20])
    assert "in PCR 15" in _boot(dom0)
    assert not _required(dom0)


def test_another_pcr(dom0):
    dom0.configure(asset_tag_pcr="11")
    _set(dom0, TAGS[32])
    assert "in PCR 11" in _reboot(dom0)
    assert dom0.tpm.read_pcr("sha256", 11) == _expected("sha256", TAGS[32])
    assert dom0.tpm.read_pcr("sha256", 15) == bytes(32)


def test_no_pcr(dom0):
    dom0.configure(asset_tag_pcr="none")
    assert not _set(dom0, TAGS[32])
    assert "in PCR" not in _reboot(dom0)
    assert not _clear(dom0)
    assert dom0.tpm.read_pcr("sha256", 15) == bytes(32)


def test_pcr_22_is_not_for_dom0_without_a_launch(dom0):
    dom0.configure(asset_tag_pcr="22")
    assert _set(dom0, TAGS[20])
    with pytest.raises(XenTpmError) as caught:
        _reboot(dom0)
    assert caught.value.code == "XENTPM_UNSUPPORTED"
    assert "asset_tag_pcr to 15" in caught.value.hint
    assert _required(dom0)


def test_pcr_22_after_a_launch(dom0):
    """At locality 2, which dom0 has only where the platform gives it: here the proxy does."""

    def at_locality_2(command):
        if command.name != "PCR_Extend":
            return None
        dom0.tpm.set_locality(2)
        try:
            return command.ask(command.data)
        finally:
            dom0.tpm.set_locality(0)

    dom0.configure(asset_tag_pcr="22")
    _set(dom0, TAGS[20])
    dom0.tpm.power_cycle()
    dom0.tpm.dynamic_launch(b"launch")
    with proxied(dom0, at_locality_2):
        _boot(dom0)
    assert dom0.tpm.read_pcr("sha1", 22) == _expected("sha1", TAGS[20])
    assert not _required(dom0)


def test_something_else_in_the_pcr(dom0):
    _set(dom0, TAGS[20])
    dom0.tpm.power_cycle()
    dom0.tpm.extend(15, {"sha256": b"x" * 32})
    with pytest.raises(XenTpmError) as caught:
        _boot(dom0)
    assert caught.value.code == "XENTPM_TAG_PCR"
    assert "PCR 15 holds something else" in caught.value.message
    assert _required(dom0)
    _clear(dom0)
    assert _required(dom0)  # the PCR does not say that there is no tag


def test_boot_without_a_tag_makes_the_keys(new_dom0):
    assert "asset tag: none" in _boot(new_dom0)
    assert tpm2(new_dom0, "getcap", "handles-persistent").count("0x8101000") == 2
    tpm2(new_dom0, "dictionarylockout", "-c", "-p", OWNER)
    _boot(new_dom0)


def test_boot_extends_the_tag_though_the_tpm_is_not_ours_any_more(dom0):
    _set(dom0, TAGS[20])
    tpm2(dom0, "changeauth", "-c", "o", "-p", OWNER, "theirs")
    with pytest.raises(XenTpmError) as caught:
        _reboot(dom0)
    assert caught.value.code == "XENTPM_NOT_OWNED"
    assert dom0.tpm.read_pcr("sha256", 15) == _expected("sha256", TAGS[20])


def test_boot_finishes_a_change_that_was_cut_short(dom0):
    _set(dom0, TAGS[20])
    with open(dom0.paths.at("var/lib/xentpm/asset_tag.pending"), "w") as file:
        file.write(TAGS[32].hex())
    _reboot(dom0)
    assert dom0.tpm.read_pcr("sha256", 15) == _expected("sha256", TAGS[32])
