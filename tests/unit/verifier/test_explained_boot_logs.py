"""Which file or command line changed, by boot logs alone: hosts without the firmware's log, as most are."""

import hashlib
from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from support.grub_boot import FILES, INITRD, KERNEL, XEN, GrubBoot
from xentpm_lib.evidence.event_log import parse_event_log
from xentpm_lib.verifier.appraisal import appraise
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.explain import Known, explain, stored_evidence
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.policy.model import Replay
from xentpm_lib.verifier.reference.changes import changed_since_boot
from xentpm_lib.verifier.reference.diff import event_changes
from xentpm_lib.verifier.reference.grub_names import event_names, event_subject
from xentpm_lib.verifier.reference.measured import measurements
from xentpm_lib.verifier.reference.words import change_lines
from xentpm_lib.verifier.result import State

NOW = 1_800_000_000.0
POLICY = make_policy(replay=Replay.IGNORED)
GOOD = GrubBoot()


def booted(host, boot, on_disk=None):
    """Let the host's TPM show this boot, and its boot log be that of the files of now."""
    host.pcrs["sha256"].update(boot.values()["sha256"])
    host.send_log = False
    host.boot_log = (on_disk or boot).boot_log()


def explained(boot, on_disk=None, reference=None):
    host = SoftwareAttester()
    booted(host, GOOD)
    good = host.reference() if reference is None else host.reference(**reference)
    booted(host, boot, on_disk)
    book = ChallengeBook(clock=lambda: NOW)
    challenge = book.issue(host.record(), POLICY)
    evidence = host.quote_evidence(challenge.nonce, challenge.selection)
    done = appraise(evidence.to_json(), book.redeem(challenge), host.record(), [good], POLICY, None, NOW)
    return explain(done.result, NOW, Known(stored_evidence(evidence), [good]))


def sha256(text):
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()


def with_file(path, content, name=None):
    files = {name if one == path and name else one: data for one, data in FILES.items()}
    files[name or path] = content
    return replace(GOOD, files=files)


@pytest.mark.parametrize(
    ("path", "name"),
    [(INITRD, "dom0 initrd"), (KERNEL, "dom0 kernel"), (XEN, "Xen")],
)
def test_a_file_is_named_with_both_digests(path, name):
    (paragraph,) = explained(with_file(path, b"other")).paragraphs
    assert paragraph.title == f"A measurement is not the expected one: {name} (sha256:9)"
    assert paragraph.notes == (f"changed: {path} ({name}): was {sha256(FILES[path])}, is {sha256(b'other')}",)


def test_a_file_of_another_version_has_another_path():
    """An update of the kernel: its file, and what GRUB is told to load."""
    changed = with_file(KERNEL, b"kernel 2", "/boot/vmlinuz-4.19.1-xen")
    commands, files = explained(changed).paragraphs
    assert files.title.endswith(": dom0 kernel (sha256:9)")
    assert files.notes == (
        f"changed: {KERNEL} (dom0 kernel); now: /boot/vmlinuz-4.19.1-xen"
        f" (was {sha256(b'kernel 1')}, is {sha256(b'kernel 2')})",
    )
    assert commands.title.endswith(": boot configuration (sha256:8)")
    assert any("vmlinuz-4.19.1-xen" in note for note in commands.notes)


def test_the_command_line_of_xen():
    found = explained(replace(GOOD, xen=GOOD.xen + " no-mce"))
    (paragraph,) = found.paragraphs
    assert paragraph.title == "A measurement is not the expected one: command line of Xen (sha256:8)"
    assert paragraph.notes == (
        "the command line of Xen changed: added 'no-mce'"
        f" (was {sha256(GOOD.xen)}, is {sha256(GOOD.xen + ' no-mce')})",
    )


def test_a_short_command_line_is_shown_as_it_was_and_is():
    (paragraph,) = explained(replace(GOOD, kernel="root=LABEL=root-abc rw")).paragraphs
    assert paragraph.title.endswith(": command line of dom0 kernel (sha256:8)")
    assert paragraph.notes[0].startswith(
        "the command line of dom0 kernel changed: root=LABEL=root-abc ro quiet -> root=LABEL=root-abc rw (was"
    )
    (paragraph,) = explained(replace(GOOD, kernel="")).paragraphs
    assert " -> (empty) (was" in paragraph.notes[0]


def test_two_command_lines_are_two_lines_and_the_menu_entry_is_none():
    (paragraph,) = explained(replace(GOOD, xen=GOOD.xen + " no-mce", kernel="single")).paragraphs
    assert paragraph.title.endswith(": command line of Xen, command line of dom0 kernel (sha256:8)")
    assert [note.partition(" changed")[0] for note in paragraph.notes] == [
        "the command line of Xen",
        "the command line of dom0 kernel",
    ]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_command_that_was_put_in_shifts_the_others(at):
    first = [*GOOD.first]
    first.insert(at, "insmod evil")
    (paragraph,) = explained(replace(GOOD, first=tuple(first))).paragraphs
    assert paragraph.title.endswith(": boot configuration (sha256:8)")
    assert paragraph.notes == ("new: grub_cmd: insmod evil",)
    (paragraph,) = explained(replace(GOOD, first=GOOD.first[:1])).paragraphs
    assert paragraph.notes == ("gone: grub_cmd: set timeout=5",)


def test_a_command_that_was_put_in_beside_one_that_changed():
    """They are next to each other, and more on one side: paired by what they are about."""
    first = ("insmod evil", "set default=1", "set timeout=5")
    (paragraph,) = explained(replace(GOOD, first=first)).paragraphs
    assert paragraph.notes == (
        "new: grub_cmd: insmod evil",
        "changed: grub_cmd: set default=0; now: grub_cmd: set default=1",
    )


def test_a_file_more_in_front_of_one_that_changed():
    files = {"/EFI/xenserver/grub.cfg": b"grub.cfg", "/boot/grub/grubenv": b"x", **FILES, XEN: b"xen 2"}
    changes = event_changes(events_of(9, GOOD), events_of(9, replace(GOOD, files=files)))
    assert change_lines(changes, 9) == [
        f"changed: {XEN} (Xen): was {sha256(b'xen 1')}, is {sha256(b'xen 2')}",
        f"new: /boot/grub/grubenv (boot configuration): {sha256(b'x')}",
    ]


def events_of(pcr, boot):
    return measurements(boot.values(), None, boot.boot_log())["sha256", pcr]


def test_what_came_last_is_told_and_what_has_no_partner():
    one, other = ("set a=1", "search x"), ("set a=2", "echo", "load_env")
    before, after = (events_of(8, replace(GOOD, first=first)) for first in (one, other))
    assert change_lines(event_changes(before, after), 8) == [
        "changed: grub_cmd: set a=1; now: grub_cmd: set a=2",
        "gone: grub_cmd: search x",
        "new: grub_cmd: echo",
        "new: grub_cmd: load_env",
    ]


def test_a_long_command_that_is_no_command_line_is_told_by_its_words():
    long = "search --no-floppy --fs-uuid --set=root --hint-efi=hd0,gpt1 " + "1234-5678-90ab-cdef " * 2
    one, other = replace(GOOD, first=(long + "a",)), replace(GOOD, first=(long + "b",))
    (line,) = change_lines(event_changes(events_of(8, one), events_of(8, other)), 8)
    assert line.startswith("changed: grub_cmd: search --no-floppy") and line.endswith(
        "removed 'a', added 'b'"
    )


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["grub_cmd: linux /boot/vmlinuz-6 root=x", "kernel_cmdline: /boot/vmlinuz-6 root=x"], "dom0 kernel"),
        (["grub_cmd: multiboot2 /boot/tboot.gz logging=serial", "kernel_cmdline: logging=serial"], "tboot"),
        (["grub_cmd: module2 /boot/SINIT_ACM.bin", "module_cmdline: "], "SINIT module"),
        (["grub_cmd: module2 /boot/thing", "module_cmdline: "], "a module"),
        (["grub_cmd: multiboot2", "kernel_cmdline: x"], "Xen or tboot"),
    ],
)
def test_whose_command_line_it_is(texts, names):
    assert event_names(texts) == ["boot configuration", f"command line of {names}"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("(hd0,gpt4)/boot/initramfs-6.1.img", "dom0 initrd"),
        ("/boot/grub/x86_64-efi/xen_boot.mod", "GRUB module"),
        ("/boot/grub/grubenv", "boot configuration"),
        ("/boot/splash.png", ""),
        ("program \\EFI\\xenserver\\grubx64.efi", ""),
    ],
)
def test_what_a_file_is(text, name):
    assert event_names([text]) == [name]


def test_what_is_the_same_thing_in_two_boots():
    for one, other, same in (
        ("grub_cmd: set default=0", "grub_cmd: set default=1", True),
        ("grub_cmd: set default=0", "grub_cmd: set timeout=0", False),
        ("grub_cmd: menuentry A { a }", "grub_cmd: menuentry A { b }", True),
        ("grub_cmd: module2 /boot/vmlinuz-1 x", "grub_cmd: module2 /boot/vmlinuz-2", True),
        ("grub_cmd: module2 /boot/vmlinuz-1", "grub_cmd: module2 /boot/initrd-1", False),
        ("grub_cmd: boot", "grub_cmd: boot now", True),
        ("grub_cmd:", "grub_cmd: boot", False),
        ("variable a", "variable b", False),
    ):
        assert (event_subject(one, "") == event_subject(other, "")) is same, one
    assert event_subject("/boot/vmlinuz-1", "dom0 kernel") == event_subject("/boot/vmlinuz-2", "dom0 kernel")


def test_a_boot_log_that_does_not_lead_to_the_values_tells_nothing():
    """The attacker's host shows a boot that is not the approved one, with the log of the approved one."""
    pcr, boot = explained(with_file(INITRD, b"other"), on_disk=GOOD).paragraphs
    assert [pcr.code, boot.code] == ["PCR_CHANGED", "BOOT_LOG_MISMATCH"]
    assert pcr.notes[0].startswith("No log tells which part")
    assert boot.notes == ("No log of this boot tells which: compare the files' dates.",)


# Files that were changed after the boot: the host is trusted, and the next boot will be another


def test_files_that_were_changed_after_the_boot_are_named():
    found = explained(GOOD, on_disk=with_file(INITRD, b"initrd 2"))
    assert found.state is State.TRUSTED
    (paragraph,) = found.paragraphs
    assert paragraph.code == "BOOT_LOG_MISMATCH"
    assert paragraph.title == (
        "Boot files were changed after this boot; the next boot will differ: dom0 initrd (sha256:9)"
    )
    assert paragraph.notes == (
        "By the host's own word, since this boot:",
        f"changed: {INITRD} (dom0 initrd): was {sha256(b'initrd 1')}, is {sha256(b'initrd 2')}",
    )
    assert found.advice[0].startswith("Planned: xentpm-attest baseline predict ")


def test_a_command_line_that_was_changed_after_the_boot():
    (paragraph,) = explained(GOOD, on_disk=replace(GOOD, kernel="single")).paragraphs
    assert paragraph.title.endswith(": command line of dom0 kernel (sha256:8)")
    assert paragraph.notes[1].startswith("the command line of dom0 kernel changed: root=LABEL=root-abc ro")


def test_without_a_log_of_this_boot_nothing_is_named():
    changed = with_file(INITRD, b"initrd 2")
    (paragraph,) = explained(GOOD, on_disk=changed, reference={"boot_log": None}).paragraphs
    assert paragraph.notes == ("No log of this boot tells which: compare the files' dates.",)
    assert paragraph.title.endswith(": Xen, dom0 kernel or initrd (sha256:9)")


def test_the_firmware_s_log_of_this_boot_is_as_good():
    host = SoftwareAttester()
    host.boot_log = GOOD.boot_log()
    shown = stored_evidence(host.quote_evidence(bytes(32)))
    found = finding("BOOT_LOG_MISMATCH", where="sha256:9", expected=host.pcrs["sha256"][9].hex())
    notes, what = changed_since_boot(found, shown, (), {})
    assert notes[0].startswith("By the host's own word") and len(notes) > 1 and what
    assert parse_event_log(host.event_log())


def test_a_boot_log_without_a_bank_or_that_is_not_there():
    host = SoftwareAttester()
    shown = stored_evidence(host.quote_evidence(bytes(32)))
    assert changed_since_boot(finding("BOOT_LOG_MISMATCH", where="sha256"), shown, (), {}) == ([], "")
    found = finding("BOOT_LOG_MISMATCH", where="sha256:9")
    assert changed_since_boot(found, shown, (), {}) == ([], "")
    assert changed_since_boot(found, None, (), {}) == ([], "")
