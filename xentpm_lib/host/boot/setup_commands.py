"""What ``xentpm-boot enable | disable | status | verify`` do: ``(host's paths, wishes) -> Outcome``."""

from typing import Any, Dict, List, NamedTuple, Optional

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.evidence.boot_setup import BootSetup
from xentpm_lib.host.boot import grub_tpm
from xentpm_lib.host.boot.layout import BootLayout
from xentpm_lib.host.boot.preconditions import (
    refused,
    require_root,
    require_root_to_read,
    require_same_esp,
)
from xentpm_lib.host.boot.setup_state import Setup, State, setup_lock
from xentpm_lib.host.boot.verification import ACTIVE, UNDONE, boot_setup
from xentpm_lib.host.paths import Paths

__all__ = ["Outcome", "Wishes", "disable", "enable", "status", "verify"]

_RESTART = (
    "Restart the host to have it measured. Then check: xentpm-boot status says that it stands,\n"
    "and xentpm --status that PCR 8 and 9 are extended."
)
_RESTART_BY_TBOOT = (
    "Restart the host and choose that entry. After that check: xentpm --status tells of a dynamic launch\n"
    "(PCR 17 to 22)."
)
_TEXTS = {
    "active": "Measured boot is set up and stands",
    "pending": "Measured boot is set up, but this boot was not measured by it",
    "undone": "Measured boot was undone",
}


class Outcome(NamedTuple):
    """``text`` for people, ``data`` for programs."""

    text: str
    data: Dict[str, Any]
    exit_status: int = 0


class Wishes(NamedTuple):
    """The options of ``enable``; ``method``: None for the one that fits. ``sinit``: the path of a module."""

    dry_run: bool = False
    method: Optional[str] = None
    default: bool = False
    sinit: Optional[str] = None


def enable(paths: Paths, wishes: Wishes) -> Outcome:
    """Set measured boot up, or mend what an update undid.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` where it cannot work, ``XENTPM_BUSY``, ``XENTPM_IO``.
        UsageError: options that do not go together.
    """
    require_root()
    if wishes.dry_run:
        return _enable(paths, wishes)
    with setup_lock(paths):
        return _enable(paths, wishes)


def _enable(paths: Paths, wishes: Wishes) -> Outcome:
    setup = _load(paths, wishes.dry_run)
    layout = BootLayout.find(paths)
    method = _method(layout, wishes, setup)
    if method != grub_tpm.METHOD:
        return _enable_tboot(paths, layout, setup, wishes)
    if wishes.default or wishes.sinit:
        raise UsageError("--default and --sinit go with --method tboot", "grub-tpm needs neither.")
    made = grub_tpm.plan(paths, layout, setup)
    changes = not (made.nothing or made.done)
    data: Dict[str, Any] = {"method": method, "changed": changes and not wishes.dry_run}
    data.update(files=[file.path for file in made.files], modules=made.modules, added=made.added)
    if wishes.dry_run:
        return Outcome("\n".join(_foretold(paths, layout, made)), data)
    told = data["done"] = grub_tpm.enable(paths, layout, made, setup)
    return Outcome("\n".join(told + ([_RESTART] if changes else [])), data)


def _enable_tboot(paths: Paths, layout: BootLayout, setup: Optional[Setup], wishes: Wishes) -> Outcome:
    from xentpm_lib.host.boot import tboot

    made = tboot.plan(paths, layout, setup, wishes.default, wishes.sinit)
    data: Dict[str, Any] = {"method": tboot.METHOD, "changed": not (made.done or wishes.dry_run)}
    data.update(files=[made.config], entry=made.entry)
    if wishes.dry_run:
        told = made.diff(paths) or "{} has the entry, as it was set up".format(paths.at(made.config))
        return Outcome(told + "\nNothing was changed.", data)
    told_lines = data["done"] = tboot.enable(paths, made, setup)
    if made.done:
        return Outcome("\n".join(told_lines), data)
    return Outcome("\n".join([*told_lines, _RESTART_BY_TBOOT]), data)


def _load(paths: Paths, dry_run: bool) -> Optional[Setup]:
    """What is set up, with nothing half written beside it any more."""
    state = State(paths)
    setup = state.load()
    if not dry_run:
        state.sweep(setup)
    return setup


def _method(layout: BootLayout, wishes: Wishes, setup: Optional[Setup]) -> str:
    fitting = grub_tpm.METHOD if layout.uefi else "tboot"
    wanted = wishes.method or (setup.method if setup else fitting)
    if setup and setup.method != wanted:
        raise refused("{} is set up already".format(setup.method), "First run: xentpm-boot disable.")
    if wanted == grub_tpm.METHOD and not layout.uefi:
        raise refused(
            "grub-tpm needs a host that boots by UEFI, and this one boots by legacy BIOS",
            "Install the host again with UEFI, or on a machine with Intel TXT use --method tboot.",
        )
    if wanted == "tboot" and layout.uefi:
        raise refused("tboot is for legacy BIOS, and this host boots by UEFI", "Leave out --method tboot.")
    return wanted


def _foretold(paths: Paths, layout: BootLayout, made: grub_tpm.Plan) -> List[str]:
    if made.nothing or made.done:
        reason = made.nothing or "{} measures, as it was set up".format(paths.at(made.image))
        return [reason, "Nothing would be changed."]
    lines = ["Would make a GRUB image of {} with {}.".format(layout.modules, layout.mkimage)]
    lines.append("Modules of the stock image and new ones (+):")
    lines += ["  {} {}".format("+" if name in made.added else " ", name) for name in made.modules]
    lines.append("Would keep the stock image as {}.".format(paths.at(made.spare)))
    lines += ["Would replace {}.".format(paths.at(file.path)) for file in made.files]
    return lines + ["Nothing was changed."]


def disable(paths: Paths, dry_run: bool) -> Outcome:
    """Put back what was there before.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when an original is gone, ``XENTPM_BUSY``, ``XENTPM_IO``.
    """
    require_root()
    if dry_run:
        return _disable(paths, dry_run=True)
    with setup_lock(paths):
        return _disable(paths, dry_run=False)


def _disable(paths: Paths, dry_run: bool) -> Outcome:
    setup = _load(paths, dry_run)
    if setup is None:
        if not dry_run:
            State(paths).forget()
        return Outcome("Measured boot is not set up: nothing to do.", {"method": None, "changed": False})
    data: Dict[str, Any] = {
        "method": setup.method,
        "changed": not dry_run,
        "files": [file.path for file in setup.files],
    }
    if setup.method == grub_tpm.METHOD:
        require_same_esp(paths, setup)
    if dry_run:
        told = [
            "Would put {} back, unless an update did.".format(paths.at(file.path)) for file in setup.files
        ]
        return Outcome("\n".join(told + ["Nothing was changed."]), data)
    if setup.method == grub_tpm.METHOD:
        told = grub_tpm.disable(paths, setup)
    else:
        from xentpm_lib.host.boot import tboot

        told = tboot.disable(paths, setup)
    data["done"] = told
    return Outcome("\n".join(told + ["Measured boot is switched off from the next restart on."]), data)


def status(paths: Paths) -> Outcome:
    """How the set-up stands, with what the TPM shows, if it answers.

    Raises:
        XenTpmError: ``XENTPM_IO``, ``XENTPM_BOOT``.
    """
    require_root_to_read()
    found = boot_setup(paths)
    if found is not None and found.state == ACTIVE:
        from xentpm_lib.host.boot.tpm_view import read_view

        view, _ = read_view(paths)
        found = boot_setup(paths, view.extended(8) if view else None)
    return _outcome_of(found)


def _outcome_of(found: Optional[BootSetup]) -> Outcome:
    if found is None:
        return Outcome("Measured boot is not set up. Set it up: xentpm-boot enable.", {"state": None})
    text = "{} ({}): {}.".format(_TEXTS[found.state], found.method, found.detail)
    return Outcome(text, dict(found._asdict()))


def verify(paths: Paths) -> Outcome:
    """Only the files, for the boot-time unit: exit status 1 and a line in the system log when it was undone.

    Raises:
        XenTpmError: ``XENTPM_IO``, ``XENTPM_BOOT``.
    """
    require_root_to_read()
    try:
        outcome = _outcome_of(boot_setup(paths))
    except XenTpmError as error:
        _log("measured boot cannot be verified: {}".format(error.message))
        raise
    if outcome.data["state"] != UNDONE:
        return outcome
    _log(outcome.text)
    return outcome._replace(exit_status=1)


def _log(text: str) -> None:
    import syslog

    syslog.openlog("xentpm", syslog.LOG_PID, syslog.LOG_USER)
    syslog.syslog(syslog.LOG_WARNING, text)
