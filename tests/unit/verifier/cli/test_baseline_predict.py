"""``baseline predict``: what comes of what a host says of its next boot, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester
from support.measured_boot import BOOT
from support.soft_pool import POLICY_TEXT, SoftPool, boot_log_of, prediction_text
from xentpm_lib.evidence.boot_setup import BootSetup
from xentpm_lib.verifier.cli import command_line
from xentpm_lib.verifier.operations import predicting
from xentpm_lib.verifier.records import ReferenceValues
from xentpm_lib.verifier.reference.prediction import PredictionError
from xentpm_lib.verifier.station import Station

PREDICT = "tpm_predict_boot"
INITRD = (9, 0x0D, b"/boot/initrd-4.19-xen.img")
UPDATED = tuple((9, 0x0D, b"/boot/initrd-4.19-xen.img 2") if one == INITRD else one for one in BOOT)


class Desk:
    """A pool of two hosts with their baselines; ``host`` was updated and not restarted yet."""

    def __init__(self, place: Path, pool: SoftPool, capsys: pytest.CaptureFixture[str]) -> None:
        self.pool, self.home, self._capsys = pool, place / "station", capsys
        self.host, self.other = pool.hosts.values()
        pool.station(self.home).close()
        self.updated()

    def updated(self, boot: Any = UPDATED, **changes: Any) -> None:
        self.pool.answers[self.host.host_id, PREDICT] = prediction_text(self.host, boot, **changes)

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        ended = command_line.run([*words, "--home", str(self.home)])
        said = self._capsys.readouterr()
        assert ended == status, said
        return said.out, said.err

    def predict(self, *words: str, status: int = 0) -> tuple[str, str]:
        return self.run("baseline", "predict", "host1", *words, status=status)

    def states(self) -> dict[str, str]:
        command_line.run(["attest", "--json", "--home", str(self.home)])
        return {one["host"]["name"]: one["state"] for one in json.loads(self._capsys.readouterr().out)}

    def references(self) -> tuple[ReferenceValues, ...]:
        with Station.open(self.home) as station:
            return tuple(station.registry.references())


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    hosts = SoftwareAttester(name="host1"), SoftwareAttester(name="host2")
    with SoftPool(tmp_path, *hosts) as pool:
        yield Desk(tmp_path, pool, capsys)


class Terminal(io.StringIO):
    """A terminal at which somebody has typed already."""

    def isatty(self) -> bool:
        return True


def test_an_update_without_an_alarm(desk: Desk) -> None:
    assert desk.states() == {"host1": "trusted", "host2": "trusted"}
    out, err = desk.predict("--label", "update", "--yes")
    assert out.startswith("The menu entry that host1 will boot: the host says: 'XenServer'\n")
    assert "What will be different when host1 has booted it:" in out
    assert "PCR 9 (sha256): Xen, dom0 kernel or initrd" in out and "PCR 8" not in out
    assert "/boot/initrd-4.19-xen.img 2" in out
    assert "No TPM has signed this: it is the host's own word, handed on by its pool's master." in out
    assert "you yourself have just updated this host" in out
    assert "host1: prepared as update (" in out and "Next: restart host1" in err
    assert desk.states() == {"host1": "trusted", "host2": "trusted"}
    desk.host.reboot(boot=UPDATED)
    assert desk.states()["host1"] == "trusted"
    old = desk.references()[0]
    assert f"xentpm-attest baseline retire {old.reference_id[:8]}" in err
    desk.run("baseline", "retire", old.reference_id[:8])
    assert desk.states()["host1"] == "trusted"
    desk.host.reboot(boot=BOOT)
    assert desk.states()["host1"] == "untrusted-measurement"


def test_what_is_stored(desk: Desk) -> None:
    desk.predict("--yes")
    *_, new = desk.references()
    assert (new.origin, new.source_host, new.hosts) == ("predicted", desk.host.host_id, {desk.host.host_id})
    assert new.label.startswith("predicted 2") and not new.groups and new.created_by
    with Station.open(desk.home) as station:
        assert station.store.get_blob(new.event_log) is not None
    out, _ = desk.run("history", "host1")
    assert f"baseline predicted: {new.label}" in out


def test_for_programs(desk: Desk) -> None:
    notes = ("the entry is the first one: grubenv is empty",)
    desk.updated(untrusted_notes=notes)
    out, err = desk.predict("--yes", "--json")
    told = json.loads(out)
    assert told["baseline"]["origin"] == "predicted" and told["notes"] == list(notes)
    assert (told["entry"], [one["pcr"] for one in told["differences"]]) == ("XenServer", [9])
    assert not err


def test_the_question_is_asked_after_what_will_be_different(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.updated(untrusted_notes=("grubenv is empty",))
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    out, err = desk.predict(status=1)
    assert "Shall host1 be trusted when it has booted this? (yes/no)" in err
    assert "nothing was prepared" in err
    assert "What it had to assume:\n    the host says: 'grubenv is empty'\nWhat will be" in out
    assert out.endswith("and it was trusted before.\n")
    assert len(desk.references()) == 2
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    out, err = desk.predict("--json")
    assert "it is the host's own word" in err and json.loads(out)["baseline"]
    assert len(desk.references()) == 3


def test_nobody_is_asked_without_a_terminal(desk: Desk) -> None:
    _, err = desk.predict(status=1)
    assert "nothing was prepared" in err and len(desk.references()) == 2


def test_nothing_to_prepare(desk: Desk) -> None:
    desk.updated(BOOT)
    out, _ = desk.predict()
    assert out == "host1: the next boot will be the same; nothing to prepare\n"
    assert json.loads(desk.predict("--json")[0]) == {
        "baseline": None,
        "differences": [],
        "entry": "XenServer",
        "notes": [],
    }
    desk.updated()
    desk.predict("--label", "update", "--yes")
    out, _ = desk.predict()
    assert out == "host1: update has the next boot already; nothing to prepare\n"
    assert len(desk.references()) == 3


def test_what_is_different_is_named_without_a_firmware_log(desk: Desk) -> None:
    """By the boot log of this boot, or by the one that was kept with a baseline of the same value."""
    desk.host.send_log, desk.host.boot_log = False, boot_log_of(desk.host)
    assert "changed: /boot/initrd-4.19-xen.img" in desk.predict("--label", "second", "--yes")[0]
    desk.host.reboot(boot=UPDATED, boot_log=boot_log_of(desk.host, BOOT))  # its files are others again
    third = tuple((9, 0x0D, b"/boot/initrd-4.19-xen.img 3") if one == INITRD else one for one in BOOT)
    desk.updated(third)
    assert "changed: /boot/initrd-4.19-xen.img 2" in desk.predict("--yes")[0]


def test_files_that_were_changed_are_told_before_the_restart(desk: Desk) -> None:
    """What the host says of its files does not lead to the signed values: it is kept, and explained."""
    desk.host.boot_log = boot_log_of(desk.host, UPDATED)
    out, _ = desk.run("attest", "host1")
    assert "trusted  boot files were changed after the boot" in out
    out = " ".join(desk.run("explain", "host1")[0].split())
    assert "the next boot will differ: dom0 initrd (sha256:9)" in out
    assert "By the host's own word, since this boot: changed: /boot/initrd-4.19-xen.img" in out
    assert "xentpm-attest baseline predict host1, then restart" in out


def test_a_host_that_says_that_an_update_undid_its_measured_boot(desk: Desk) -> None:
    told = desk.host.text
    desk.host.text = lambda *args: told(  # type: ignore[method-assign]
        *args, evidence={"untrusted_boot_setup": BootSetup("grub-tpm", "undone", "grubx64.efi: no tpm")}
    )
    assert "measured boot was undone, it says" in desk.run("attest", "host1")[0]
    err = desk.predict("--yes", status=1)[1]
    assert "host1 says that its measured boot was undone: what it predicts is not what will measure" in err
    assert "Run xentpm-boot enable on host1 and restart it" in err
    desk.host.reboot(boot=UPDATED)
    assert "measured boot was undone, it says" in desk.run("attest", "host1", status=3)[0]
    out = " ".join(desk.run("explain", "host1", status=3)[0].split())
    assert out.startswith("host1 is not trusted: what it booted is not what was approved. since")
    assert "This contradicts what the TPM signed" in out
    assert "the host says: 'grubx64.efi: no tpm'" in out
    desk.host.send_log = False
    desk.host.reboot(boot=tuple(one for one in BOOT if one[0] not in (8, 9)))
    desk.run("attest", "host1", status=3)
    out = " ".join(desk.run("explain", "host1", status=3)[0].split())
    assert "not what was approved. It says that measured boot was undone by an update. since" in out
    assert "Run xentpm-boot enable on the host" in out


def test_a_host_whose_measured_boot_begins_with_the_restart(desk: Desk) -> None:
    told = desk.host.text
    desk.host.text = lambda *args: told(  # type: ignore[method-assign]
        *args, evidence={"untrusted_boot_setup": BootSetup("grub-tpm", "pending", "x")}
    )
    err = desk.predict("--yes", status=1)[1]
    assert "begins with the next restart" in err and "Restart host1; then: xentpm-attest baseline" in err


def test_a_host_without_any_log(desk: Desk) -> None:
    desk.host.send_log = False
    out, _ = desk.predict("--yes")
    assert "PCR 9 (sha256)" in out and "initrd-4.19" not in out
    assert "which part of it: not known, for no logs lead to both values" in out


ONE_IMAGE = POLICY_TEXT.replace("shared = [0, 2, 4, 7]", "shared = [0, 2, 4, 7, 8, 9]").replace(
    "per_host = [1, 8, 9]", "per_host = [1]"
)


def test_a_group_of_one_image(desk: Desk, tmp_path: Path) -> None:
    """Predicted once, for all: the others are trusted after the update by it and by their own PCR 1."""
    policy = tmp_path / "image.toml"
    policy.write_text(ONE_IMAGE)
    desk.run("policy", "assign", str(policy))
    out, _ = desk.predict("--label", "update", "--for-group", "--yes")
    assert out.endswith("), for the group default (2 hosts)\n") and "Known-good for the group" not in out
    for host in (desk.host, desk.other):
        host.reboot(boot=UPDATED)
        assert set(desk.states().values()) == {"trusted"}
    assert desk.references()[-1].groups == {"default"}


def test_without_the_group_it_counts_for_the_host_alone(desk: Desk, tmp_path: Path) -> None:
    policy = tmp_path / "image.toml"
    policy.write_text(ONE_IMAGE)
    desk.run("policy", "assign", str(policy))
    desk.predict("--yes")
    for host in (desk.host, desk.other):
        host.reboot(boot=UPDATED)
    assert desk.states() == {"host1": "trusted", "host2": "untrusted-measurement"}


def group_desk(desk: Desk, tmp_path: Path) -> None:
    policy = tmp_path / "image.toml"
    policy.write_text(ONE_IMAGE)
    desk.run("policy", "assign", str(policy))


def test_the_question_names_the_group_and_what_becomes_good_beside_the_prediction(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another boot loader of the one host, approved for it alone, would be good for all."""
    group_desk(desk, tmp_path)
    other = tuple((pcr, kind, b"old" if text == b"grubx64.efi" else text) for pcr, kind, text in BOOT)
    desk.host.reboot(boot=other)
    desk.run("baseline", "approve", "host1", "--yes")
    desk.updated(tuple((pcr, kind, b"x" if text == INITRD[2] else text) for pcr, kind, text in other))
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    out, err = desk.predict("--for-group", status=1)
    assert "Shall host1, and every host of the group default (2 hosts), be trusted when it has" in err
    value = desk.host.pcrs["sha256"][4].hex()
    assert "Known-good for the group default, too, and new for 1 host of it:" in out
    assert f"    PCR 4 (sha256): boot loader: {value}\n" in out and out.count("Known-good for the group") == 1


def test_a_group_is_refused_where_nothing_that_is_predicted_is_shared(desk: Desk) -> None:
    err = refused(desk, "--for-group")
    assert "--for-group would prepare nobody: the policy soft compares PCR 8 and 9 per host" in err


def test_the_group_and_the_label_are_not_ignored_where_there_is_nothing_to_prepare(
    desk: Desk, tmp_path: Path
) -> None:
    group_desk(desk, tmp_path)
    desk.predict("--label", "update", "--yes")
    new = desk.references()[-1]
    err = desk.predict("--for-group", "--yes", status=1)[1]
    command = f"xentpm-attest baseline assign {new.reference_id[:8]} --group default"
    assert "for the group default nothing was prepared" in err and command in err
    desk.run(*command.split()[1:])
    assert "update has the next boot already" in desk.predict("--for-group", "--yes", "--label", "update")[0]
    assert desk.references()[-1].groups == {"default"}
    assert "--label other was not used" in desk.predict("--label", "other")[1]


def test_registers_that_are_not_compared_stay_as_signed(desk: Desk, tmp_path: Path) -> None:
    policy = tmp_path / "eight.toml"
    policy.write_text(
        POLICY_TEXT.replace("per_host = [1, 8, 9]", "per_host = [1, 8]").replace("uefi-grub", "firmware")
    )
    desk.run("policy", "assign", str(policy))
    desk.updated((*UPDATED, (8, 0x0D, b"grub_cmd: echo")))
    desk.predict("--yes")
    new = desk.references()[-1]
    assert new.pcrs["sha256"][9] == desk.host.pcrs["sha256"][9]
    assert new.pcrs["sha256"][8] != desk.host.pcrs["sha256"][8]
    assert new.boot_log is not None and {one.pcr for one in new.boot_log} == {8}


# What the host says stays its own words, and hides nothing


def test_notes_and_title_cannot_fill_the_screen(desk: Desk) -> None:
    """They come first, short, without spaces that would paint lines, and the differences behind them."""
    painted = "x" + " " * 400 + "PCR 9 (sha256): nothing"
    desk.updated(untrusted_entry="y" * 300, untrusted_notes=(painted, "z'" * 200, *["more"] * 60))
    out, _ = desk.predict("--yes")
    lines = out.splitlines()
    assert lines[0] == f"The menu entry that host1 will boot: the host says: '{'y' * 80}…'"
    assert lines[2] == "    the host says: 'x PCR 9 (sha256): nothing'"
    assert lines[3].startswith("    the host says: 'z\\'z\\'") and len(lines[3]) < 350
    assert lines[12] == "    52 more are left out here; --json has them all"
    assert lines[13] == "What will be different when host1 has booted it:"
    assert max(map(len, lines[:13])) < 350


def test_nothing_of_the_differences_is_left_out(desk: Desk) -> None:
    """Fourteen modules in front of a changed Xen, and a long line with the one word that matters last."""
    options = " ".join(f"xencons.option{number:02}=a-value-of-it" for number in range(13))
    command = next(text for pcr, _, text in BOOT if pcr == 8 and text.startswith(b"grub_cmd"))
    evil = command + f" {options} init=/bin/evil".encode()
    boot = tuple((pcr, kind, evil if text == command else text) for pcr, kind, text in BOOT)
    modules = tuple((9, 0x0D, f"/boot/grub/m{number}.mod".encode()) for number in range(25))
    desk.updated(
        tuple((p, k, b"/boot/xen.gz 2" if t == b"/boot/xen.gz" else t) for p, k, t in modules + boot)
    )
    out, _ = desk.predict("--yes")
    assert "init=/bin/evil" in out and "more events" not in out
    assert all(f"/boot/grub/m{number}.mod" in out for number in range(25))
    of_files = out[out.index("PCR 9") :].splitlines()
    assert "/boot/xen.gz" in of_files[3]
    assert "measurements differ, and all of them are above" in out


def test_what_a_baseline_calls_a_file_counts_more_than_what_the_host_calls_it_now(desk: Desk) -> None:
    """Its log of this boot leads to the values, and says that Xen is a font."""
    desk.host.send_log, desk.host.boot_log = False, boot_log_of(desk.host)
    desk.run("baseline", "capture", "host1", "--label", "with names")
    font = [
        one._replace(description="/boot/grub/fonts/unicode.pf2") if one.description == "/boot/xen.gz" else one
        for one in boot_log_of(desk.host)
    ]
    desk.host.boot_log = tuple(font)
    evil = {"sha256": bytes(32)}
    desk.updated(
        untrusted_boot_log=tuple(
            one._replace(digests=evil) if one.description.endswith(".pf2") else one for one in font
        )
    )
    out, _ = desk.predict("--yes")
    assert "changed: /boot/xen.gz (Xen); now: /boot/grub/fonts/unicode.pf2 (was " in out


def test_predictions_that_never_came_true_are_named(desk: Desk) -> None:
    desk.predict("--label", "first", "--yes")
    first = desk.references()[-1]
    desk.updated((*UPDATED, (9, 0x0D, b"/boot/more")))
    err = desk.predict("--label", "second", "--yes")[1]
    retire = f"xentpm-attest baseline retire {first.reference_id[:8]}"
    assert f"host1 has never booted first, which counts all the same: {retire}" in err
    desk.host.reboot(boot=UPDATED)
    desk.run("attest", "host1")
    desk.updated((*UPDATED, (9, 0x0D, b"/boot/yet more")))
    err = desk.predict("--label", "third", "--yes")[1]
    assert "never booted second" in err and "never booted first" not in err
    out, err = desk.predict()
    assert "third has the next boot already" in out
    assert "never booted second" in err and "never booted third" not in err


def test_a_prediction_is_not_exported(desk: Desk) -> None:
    desk.predict("--label", "update", "--yes")
    err = desk.run("baseline", "export", "update", status=1)[1]
    assert "'update' was predicted: no TPM has shown it" in err


# Refusals: nothing is stored


def refused(desk: Desk, *words: str) -> str:
    before = desk.references()
    _, err = desk.predict("--yes", *words, status=1)
    assert desk.references() == before
    return err


def test_a_plugin_that_is_too_old(desk: Desk) -> None:
    del desk.pool.answers[desk.host.host_id, PREDICT]
    err = refused(desk)
    assert f"UNKNOWN_XENAPI_PLUGIN_FUNCTION: {PREDICT}" in err
    assert "install the newer supplemental pack" in err


def test_a_host_that_cannot_predict(desk: Desk) -> None:
    said = ("XENTPM_BOOT", "grub.cfg line 7: a function is called", "See docs.", "xentpm[7]")
    desk.pool.answers[desk.host.host_id, PREDICT] = said
    err = refused(desk)
    assert "the host says: 'XENTPM_BOOT: grub.cfg line 7: a function is called (xentpm[7])'" in err
    assert "hint: the host says: 'See docs.'" in err


def test_a_host_that_is_off(desk: Desk) -> None:
    for function in ("tpm_get_quote", PREDICT):
        desk.pool.answers[desk.host.host_id, function] = ("HOST_OFFLINE", "OpaqueRef:x")
    assert "cannot reach the host" in refused(desk)


def test_an_untrusted_host_is_not_even_asked(desk: Desk) -> None:
    desk.host.reboot(boot=UPDATED)
    err = refused(desk)
    assert "is not trusted now (PCR_CHANGED)" in err and "xentpm-attest explain host1" in err
    assert PREDICT not in [call[1][3] for call in desk.pool.calls if call[0] == "host.call_plugin"]


def test_a_host_without_a_baseline(desk: Desk) -> None:
    desk.run("baseline", "retire", desk.references()[0].reference_id)
    assert "NO_REFERENCE_VALUES" in refused(desk)


def test_what_counts_was_changed_meanwhile(desk: Desk) -> None:
    with Station.open(desk.home) as station:
        prepared = predicting.prepare(station, station.registry.host("host1"))
        desk.run("baseline", "retire", desk.references()[0].reference_id)
        with pytest.raises(Exception, match="changed meanwhile"):
            predicting.keep(station, prepared, None)
    assert [one.origin for one in desk.references()] == ["captured", "captured"]


def test_a_result_that_has_expired_before_the_yes(desk: Desk) -> None:
    with Station.open(desk.home) as station:
        prepared = predicting.prepare(station, station.registry.host("host1"))
        late = replace(prepared, result=replace(prepared.result, expires_at=0.0))
        with pytest.raises(PredictionError, match="has expired; nothing was prepared"):
            predicting.keep(station, late, None)
    assert [one.origin for one in desk.references()] == ["captured", "captured"]
