"""What dom0 says of its measured boot set-up. Nobody has signed it: it tells where to look, no more."""

from __future__ import annotations

from xentpm_lib.evidence.boot_setup import BootSetup
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.plain import host_says

__all__ = ["setup_findings"]

_CODES = {"undone": "MEASURED_BOOT_UNDONE", "pending": "MEASURED_BOOT_PENDING"}


def setup_findings(untrusted_setup: BootSetup | None) -> tuple[Finding, ...]:
    """A finding where the set-up does not stand as it was made, or is not in use yet; else nothing.

    It is added to what the registers show and never takes anything from it: a host whose measured boot was
    undone fails by its registers, whatever it says here. Its words are marked as its own, and short; the
    evidence in the store has all of them.
    """
    code = None if untrusted_setup is None else _CODES.get(untrusted_setup.state)
    if untrusted_setup is None or code is None:
        return ()
    return (
        finding(
            code,
            where="measured_boot",
            component="measured boot",
            actual=untrusted_setup.method,
            detail=host_says(untrusted_setup.detail) if untrusted_setup.detail else "",
        ),
    )
