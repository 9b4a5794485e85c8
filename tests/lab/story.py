"""The story: how a host with a stock boot loader becomes one that proves what it booted.

Each step is one line of what is printed. What a step asserts is what an administrator is promised.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

from lab.host import CONFIG, IMAGE, Host
from lab.images import Images
from lab.machine import Machine
from lab.progress import step
from lab.station import UNTRUSTED, Station

__all__ = ["Story"]

_CHAIN = ("xen", "kernel", "initrd", "command_lines")
_BLANK = "00" * 32
_TAG = "1ab000000000000000000000000000000000da7a"
_NAME = "lab"  # of the host


class Story:
    """One host and its verifier. ``tell`` may be called once; ``end`` always."""

    def __init__(self, images: Images, pack: Path, place: Path) -> None:
        self._images = images
        self._place = place
        self.password = secrets.token_hex(16)
        self.machine = Machine(place / "machine", images.disk, images.variables, images.tpm, pack)
        self.host = Host(self.machine)
        self.station = Station(place / "station", self.password)
        self._stock: dict[str, str] = {}

    def tell(self) -> None:
        """From the first boot to the last. Raises: AssertionError, LabError."""
        self._stock_host()
        self._install()
        self._power_cuts()
        self._measured()
        self._enrolled()
        self._rebooted_with_a_tag()
        self._changed_initrd()
        self._changed_command_line()
        self._restored()
        self._predicted_update()
        self._undone_by_an_update()
        self._disabled()

    def end(self) -> None:
        """Switch everything off."""
        self.machine.power_cut()

    # A host as its installer leaves it

    def _stock_host(self) -> None:
        with step("boot 1: GRUB as the distribution built it, Xen, dom0"):
            self.machine.boot()
            self._stock = self.host.sums()
            pcrs = self.host.pcrs()
        assert pcrs[4] != _BLANK, "the firmware measures the boot loader"
        assert pcrs[8] == pcrs[9] == _BLANK, "a stock GRUB measures nothing"

    def _install(self) -> None:
        with step("install.sh of the pack's ISO; it leaves the boot partition alone"):
            said = self.host.install_pack()
            assert "is installed" in said, said
            assert self.host.sums() == self._stock
        with step("probe: Xen, kernel, initrd and command lines are not measured"):
            links = self.host.links()
            assert {links[name] for name in _CHAIN} == {False}, links
        self._certificate = self.host.give_xapi(self._place, self.password)

    # Enable

    def _power_cuts(self) -> None:
        """Both are the moments at which a host could be left without a boot loader."""
        image = IMAGE.replace("/boot/efi", ".")
        for call, where, replaced in (
            ("fsync", "before the new image is in its place", False),
            ("rename", "when it is there, and not yet synced", True),
        ):
            with step(f"enable, and a power cut {where}: the host boots"):
                self.host.stop_enable_at(call)
                assert (self.host.sums()[image] != self._stock[image]) == replaced, self.host.sums()
                self.machine.power_cut()
                self.machine.boot()

    def _measured(self) -> None:
        with step("enable again: it finishes what was begun"):
            ended = self.host.boot_tool("enable")
            assert ended.status == 0, ended
            assert self.host.sums() != self._stock
        with step("reboot: Xen, kernel, initrd and command lines are measured"):
            self.machine.reboot()
            links, pcrs = self.host.links(), self.host.pcrs()
            assert {links[name] for name in _CHAIN} == {True}, links
            assert _BLANK not in (pcrs[8], pcrs[9]), pcrs
            assert self.host.setup_state() == "active"
        with step("predict computes PCR 8 and 9 as the TPM has them"):
            predicted = self.host.predicted()
            assert {index: pcrs[index] for index in (8, 9)} == predicted, (pcrs, predicted)

    # The verifier

    def _enrolled(self) -> None:
        with step("enrol: the host's keys are in a TPM whose maker is known"):
            self.machine.wait_for_xapi()
            self.station.begin(self._place)
            url = f"https://127.0.0.1:{self.machine.xapi_port}"
            said = self.station.enrol(url, self._certificate, self._images.ek_ca)
            assert "enrolled" in said.out, said
        with step("baseline, attest: trusted"):
            self.station.attest("baseline", "capture", "--all", "--label", "installed")
            self._trusted()

    def _rebooted_with_a_tag(self) -> None:
        with step("asset tag set, reboot: still trusted, the tag is certified and in PCR 15"):
            self.station.attest("asset-tag", _NAME, _TAG)
            said = self.host.dom0.good(f"/opt/xensource/tpm/xentpm --tpm_set_asset_tag {_TAG}")
            assert _TAG in said or "restart" in said.lower() or "reboot" in said.lower(), said
            self._reboot()
            self._trusted()  # which needs the tag that was expected, certified together with the quote
            assert self.host.pcrs()[15] == _extended(_TAG)

    def _changed_initrd(self) -> None:
        with step("initrd rebuilt, reboot: untrusted, the initrd is named"):
            self.host.keep(self.host.initrd(), CONFIG)
            self.host.rebuild_initrd("rebuilt")
            self._reboot()
            self._untrusted("PCR_CHANGED")
            explained = self._explained()
            assert "initrd" in explained, explained

    def _changed_command_line(self) -> None:
        with step("Xen's command line changed, reboot: untrusted, the command line is named"):
            self.host.restore(self.host.initrd())
            self.host.change_xen_command_line("iommu=0")
            self._reboot()
            self._untrusted("PCR_CHANGED")
            explained = self._explained()
            assert "command line of Xen" in explained and "iommu=0" in explained, explained

    def _restored(self) -> None:
        with step("all of it restored, reboot: trusted"):
            self.host.restore(CONFIG)
            self._reboot()
            self._trusted()

    def _predicted_update(self) -> None:
        with step("an update of both, predicted before the reboot: trusted after it, without an alarm"):
            self.host.rebuild_initrd("update")
            self.host.change_xen_command_line("iommu=0")
            self.station.attest("baseline", "predict", _NAME, "--label", "update", "--yes")
            self._reboot()
            result = self._trusted()
            matched = [one["label"] for one in result["references"] if one["matched"]]
            assert matched == ["update"], result["references"]

    # The end of it

    def _undone_by_an_update(self) -> None:
        with step("an update brings the stock image back, reboot: undone by an update"):
            stock = self._images.stock_image
            self.host.dom0.write(IMAGE, stock)
            self._reboot()
            verified = self.host.boot_tool("verify")
            assert verified.status == 1 and self.host.setup_state() == "undone", verified
            self._untrusted("MEASURED_BOOT_UNDONE")
            explained = self._explained()
            assert "undone by an update" in explained, explained

    def _disabled(self) -> None:
        with step("enable mends it; disable: the boot partition is what it was, byte for byte"):
            for command in ("enable", "disable"):
                ended = self.host.boot_tool(command)
                assert ended.status == 0, ended
            self.host.dom0.good(f"sed -i '/multiboot2/s/ iommu=0$//' {CONFIG}")  # the story's own change
            sums = self.host.sums()
            assert sums == self._stock, (sums, self._stock)
        with step("the last boot: as in the beginning"):
            self.machine.reboot()
            pcrs = self.host.pcrs()
            assert pcrs[8] == pcrs[9] == _BLANK, pcrs

    # What is asked again and again

    def _reboot(self) -> None:
        self.machine.reboot()
        self.machine.wait_for_xapi()

    def _trusted(self) -> dict[str, Any]:
        result: dict[str, Any] = self.station.json("attest", _NAME)[0]
        assert result["verdict"] == "trusted", result
        failed = [one for one in result["findings"] if one["severity"] == "failed"]
        assert not failed, failed
        return result

    def _untrusted(self, code: str) -> None:
        result = self.station.json("attest", _NAME, status=UNTRUSTED)[0]
        codes = {one["code"] for one in result["findings"]}
        assert result["verdict"] == "untrusted" and code in codes, result

    def _explained(self) -> str:
        """What ``explain`` says, without its line breaks."""
        return " ".join(self.station.attest("explain", _NAME, status=UNTRUSTED).out.split())


def _extended(tag: str) -> str:
    """A PCR of the SHA-256 bank that was extended once, with a tag of another size: with its hash."""
    value = hashlib.sha256(bytes.fromhex(tag)).digest()
    return hashlib.sha256(bytes(32) + value).hexdigest()
