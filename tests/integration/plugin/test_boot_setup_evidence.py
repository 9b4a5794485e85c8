"""What a quote says of the measured boot set-up: what can be told, and never in the quote's way."""

import os

from support.dom0 import NONCE
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.host.boot import cli, durable
from xentpm_lib.host.boot.setup_state import ENABLED, BootId, Original, Setup, State

IMAGE = "boot/grubx64.efi"
SETUP = "var/lib/xentpm/boot/setup.json"


def quoted(dom0, **arguments):
    return QuoteEvidence.from_json(dom0.call("tpm_get_quote", nonce=NONCE, **arguments)).untrusted_boot_setup


def set_up(dom0, content, boot_id):
    dom0.write("boot/grubx64.efi", content)
    files = (Original(IMAGE, "0" * 64),)
    ours = (durable.digest_of(content.encode()),)
    State(dom0.paths).store(
        Setup("grub-tpm", ENABLED, files, ours, since="2026-01-31T12:00:00Z", boot_id=boot_id)
    )


def test_the_set_up_is_told_in_a_quote(dom0):
    assert quoted(dom0) is None
    os.makedirs(dom0.paths.at("boot"))
    set_up(dom0, "an image", "an earlier boot")
    assert (quoted(dom0).method, quoted(dom0).state) == ("grub-tpm", "pending")
    assert "PCR 8 and 9 are zero" in quoted(dom0).detail
    assert quoted(dom0, pcrs="sha256:0,7").state == "active"
    for pcr in (8, 9):
        dom0.tpm.extend(pcr, {"sha1": b"\1" * 20, "sha256": b"\1" * 32})
    assert quoted(dom0).state == "active"
    dom0.write(IMAGE, "another image")
    assert quoted(dom0).state == "undone" and IMAGE in quoted(dom0).detail
    assert BootId.of(dom0.paths).boot_id == ""


def test_a_damaged_record_does_not_stop_a_quote(dom0):
    os.makedirs(dom0.paths.at("var/lib/xentpm/boot"))
    dom0.write(SETUP, "{")
    assert quoted(dom0) is None
    os.unlink(dom0.paths.at(SETUP))
    os.mkfifo(dom0.paths.at(SETUP))
    assert quoted(dom0) is None
    os.unlink(dom0.paths.at(SETUP))
    files = (Original("boot/" + "x" * 5000, "0" * 64),)
    State(dom0.paths).store(Setup("grub-tpm", ENABLED, files, ("0" * 64,)))
    assert quoted(dom0) is None
    State(dom0.paths).store(Setup("grub-tpm", ENABLED, files, ("0" * 64,), esp="boot/efi"))
    assert quoted(dom0) is None


def test_without_the_esp_a_quote_says_nothing_of_the_set_up(dom0):
    os.makedirs(dom0.paths.at("boot"))
    set_up(dom0, "an image", "an earlier boot")
    setup = State(dom0.paths).load()
    State(dom0.paths).store(setup._replace(esp="boot/efi"))
    assert quoted(dom0) is None
    os.makedirs(dom0.paths.at("boot/efi/EFI"))
    assert quoted(dom0).state == "pending"


def test_status_asks_the_tpm_whether_this_boot_was_measured(dom0, capsys):
    os.makedirs(dom0.paths.at("boot"))
    set_up(dom0, "an image", "an earlier boot")
    assert cli.main(["--config", dom0.paths.config, "status"]) == 0
    assert "this boot was not measured by it" in capsys.readouterr().out
    dom0.tpm.extend(8, {"sha1": b"\1" * 20, "sha256": b"\1" * 32})
    assert cli.main(["--config", dom0.paths.config, "status"]) == 0
    assert "is set up and stands" in capsys.readouterr().out
