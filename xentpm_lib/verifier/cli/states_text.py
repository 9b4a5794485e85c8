"""States and findings in words, as the tables and listings of several commands have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.operations.hosts import NOT_ATTESTED, HostView, why_stale
from xentpm_lib.verifier.records import PoolRecord, UnenrolledHost
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.result_json import result_to_object
from xentpm_lib.verifier.times import format_time

__all__ = [
    "NOT_TRUSTED",
    "UNENROLLED",
    "exit_status",
    "reason",
    "unenrolled_json",
    "view_json",
    "view_reason",
]

NOT_TRUSTED = 3
"""Exit status: a host that was asked about is not trusted."""
UNENROLLED = "its pool has it, and nobody enrolled it"

_ORDER = {Severity.FAILED: 0, Severity.WARNING: 1, Severity.INFO: 2}
_OWN_REASONS = {
    State.STALE: "its last result has expired",
    State.NOT_ENROLLED: "it is not enrolled",
}

_SHORT = {
    "BOOT_LOG_MISMATCH": "boot files were changed after the boot",
    "EK_FIRST_USE": "TPM trusted on first use",
    "MEASURED_BOOT_PENDING": "measured boot begins with the next restart, it says",
    "MEASURED_BOOT_UNDONE": "measured boot was undone, it says",
}
"""What is told of a finding instead of the component that it is about, for that says too little."""


def exit_status(states: Iterable[State]) -> int:
    """0 when all are trusted, else 3."""
    return 0 if all(state is State.TRUSTED for state in states) else NOT_TRUSTED


def reason(state: State, result: AttestationResult | None) -> str:
    """Why a host is not trusted, in a few words; for one that is: its warnings, or nothing."""
    if state in _OWN_REASONS:
        return _OWN_REASONS[state] if result is not None else "it was never attested"
    if result is None:
        return ""
    shown = [found for found in result.findings if found.severity is not Severity.INFO]
    shown.sort(key=lambda found: _ORDER[found.severity])
    told = [_SHORT.get(found.code) or found.component or found.kind.title for found in shown]
    return "; ".join(dict.fromkeys(told))


def view_reason(view: HostView, now: float) -> str:
    """As ``reason``, with what to do about a host that was not attested since it was enrolled."""
    if view.state is not State.STALE:
        return reason(view.state, view.result)
    why = why_stale(view.host, view.result, now)
    return f"{why}: xentpm-attest attest {view.word}" if why == NOT_ATTESTED else why


def view_json(view: HostView) -> dict[str, Any]:
    """A host as it stands, for programs."""
    host = view.host
    return {
        "host": {"uuid": host.host_id, "name": host.name, "group": host.group},
        "pool": {"uuid": view.pool.pool_id, "name": view.pool.name},
        "state": view.state.value,
        "trusted": view.state is State.TRUSTED,
        "since": None if view.since is None else format_time(view.since),
        "policy": view.policy or None,
        "result": None if view.result is None else result_to_object(view.result),
    }


def unenrolled_json(host: UnenrolledHost, pool: PoolRecord) -> dict[str, Any]:
    """A host that is not enrolled, with the members of ``view_json``."""
    return {
        "host": {"uuid": host.host_id, "name": host.name, "group": None},
        "pool": {"uuid": pool.pool_id, "name": pool.name},
        "state": State.NOT_ENROLLED.value,
        "trusted": False,
        "since": format_time(host.seen_at),
        "policy": None,
        "result": None,
    }
