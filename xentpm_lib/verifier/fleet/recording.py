"""What is handed to the recorder, and what it makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.fleet.states import Transition
from xentpm_lib.verifier.ledger_bodies import LedgerItem, StateChange, state_changed
from xentpm_lib.verifier.notify.change import Change
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.store.model import Recorded

__all__ = ["Outline", "Prepared", "Recording", "change_of", "entry_of"]


@dataclass(frozen=True, slots=True)
class Outline:
    """What is told of a host beside its result. disable_host: as its policy says."""

    host_name: str
    pool_id: str
    pool_name: str
    disable_host: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """A result to be stored. evidence: only what was verified is worth keeping.

    host: the record that it was judged by; None where none was needed.
    """

    result: AttestationResult
    outline: Outline
    evidence: QuoteEvidence | None = None
    host: HostRecord | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording with all that is stored with it."""

    recording: Recording
    transition: Transition | None
    recorded: Recorded


def change_of(outline: Outline, transition: Transition, result: AttestationResult | None = None) -> Change:
    """What is told of a change."""
    return Change(
        host_id=transition.host_id,
        host_name=outline.host_name,
        pool_id=outline.pool_id,
        pool_name=outline.pool_name,
        old=transition.old,
        new=transition.new,
        at=transition.at,
        result=result,
        disable_host=outline.disable_host,
        passed=transition.passed,
    )


def entry_of(change: Change) -> LedgerItem:
    """What the ledger says of a change."""
    failed = () if change.result is None else change.result.findings
    codes = tuple(dict.fromkeys(one.code for one in failed if one.failed))
    return state_changed(StateChange(change.host_id, change.old, change.new, change.at, codes))
