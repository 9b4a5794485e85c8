"""Boots of real GRUB, recorded, computed again from the files alone."""

import pytest

from support.grub_boots import case_names, load_case, write_dom0
from xentpm_lib.evidence.pcr import replay
from xentpm_lib.host.boot.grub_files import GrubFiles
from xentpm_lib.host.boot.grub_image import GrubImage
from xentpm_lib.host.boot.grub_run import run_grub
from xentpm_lib.host.boot.prediction import full_prefix, to_events

BANKS = ("sha1", "sha256")


def _computed(tmp_path, case, result):
    """Each event's text, register and digests; recorded digests for files that only that machine had."""
    paths = write_dom0(tmp_path, case, result)
    config = case["embedded"].encode() if "embedded" in case else None
    image = GrubImage(tuple(result["modules"]), case.get("prefix", "/EFI/xenserver"), config, None)
    files = GrubFiles(paths, "boot/efi")
    run = run_grub(files, image, full_prefix(image.prefix, files), "/EFI/BOOT")
    for event, made in zip(run.measured, to_events(paths, run, BANKS)):
        path = "" if event.path is None else event.path[len(paths.at("boot/efi")) :]
        facts = result["files"].get(path)
        yield (
            made.description,
            made.pcr,
            {bank: facts[bank] for bank in BANKS}
            if facts
            else {bank: made.digests[bank].hex() for bank in BANKS},
        )


def test_there_are_recorded_boots():
    assert len(case_names()) >= 12


@pytest.mark.parametrize("name", case_names())
def test_every_measurement_of_a_recorded_boot(tmp_path, name):
    case, result = load_case(name)
    recorded = [(event["pcr"], {bank: event[bank] for bank in BANKS}) for event in result["events"]]
    computed = list(_computed(tmp_path, case, result))
    for number, (description, pcr, digests) in enumerate(computed[: len(recorded)]):
        assert (number, description, pcr, digests) == (number, description) + recorded[number]
    assert len(computed) == len(recorded)
    for bank in BANKS:
        final = replay(bank, [(pcr, bytes.fromhex(digests[bank])) for _, pcr, digests in computed])
        assert {str(pcr): final[pcr].hex() for pcr in (8, 9)} == result["pcrs"][bank]
