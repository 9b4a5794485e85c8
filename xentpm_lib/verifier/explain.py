"""Explaining a result: which component changed, since when, what was expected and seen, what to do.

Pure: everything that is known goes in. What a log says is used register by register, where it leads to the
PCR values; else only the values are told, for any event could be invented.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal.measurements import is_extended
from xentpm_lib.verifier.explanation import Explanation, Paragraph
from xentpm_lib.verifier.findings import Category, Finding, Severity, advice_for
from xentpm_lib.verifier.plain import one_line
from xentpm_lib.verifier.records import PoolRecord, ReferenceValues, UnenrolledHost
from xentpm_lib.verifier.reference.changes import Shown, changed_register, changed_since_boot, event_at
from xentpm_lib.verifier.result import AttestationResult, State, Verdict

__all__ = ["Known", "explain", "explain_unenrolled", "stored_evidence"]

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))  # seconds
_ORDER = {Severity.FAILED: 0, Severity.WARNING: 1, Severity.INFO: 2}

_HEADLINES = {
    State.TRUSTED: "{} is trusted.",
    State.UNTRUSTED_MEASUREMENT: "{} is not trusted: what it booted is not what was approved.",
    State.UNTRUSTED_KEY: "{} is not trusted: a key or a signature is not the one that it was enrolled with.",
    State.UNTRUSTED_EVIDENCE: "{} is not trusted: what it sent does not hold.",
    State.UNREACHABLE: "Nothing is known about {} now: no evidence could be collected. That is no sign of"
    " tampering, and none of the opposite.",
    State.STALE: "{} counts as not trusted: its last result has expired, and no newer one was made.",
    State.NOT_ENROLLED: "{} is not enrolled.",
    State.PENDING_APPROVAL: "{} waits for approval: nobody has said yet what it has to show.",
}
_UNDONE = "MEASURED_BOOT_UNDONE"
_SETUP = frozenset({_UNDONE, "MEASURED_BOOT_PENDING"})  # the host's word on its measured boot set-up
_SETUP_HEADLINE = "{} is not trusted: the policy does not take what it says of its measured boot set-up."
_UNDONE_HEADLINE = " It says that measured boot was undone by an update."
_CONTRADICTION = (
    "This contradicts what the TPM signed: PCR 8 or 9 is not blank, so this boot was measured, and that"
    " measured boot was undone does not explain that they are wrong."
)
_BY_BOOT_LOADER = frozenset({8, 9})  # registers that are blank where measured boot was undone
_BOOT_LOADER = 4  # the boot loader itself, which an update puts back
_REGISTER = re.compile(r"[a-z0-9_]+:([0-9]{1,2})")
_STALE_ADVICE = "See whether `xentpm-attest watch` runs; look at the host now: xentpm-attest attest HOST."


@dataclass(frozen=True, slots=True)
class Known:
    """What there is beside the result.

    shown: the evidence of the result; None where there is none. references: those of the host.
    logs: SHA-256, hex, to the firmware event logs that the references name.
    history: earlier results of the host, in any order; the explained one may be among them.
    since: when the host became what it is; last_trusted: of the last result that said so; None where that is
    to be seen from the history.
    """

    shown: Shown | None = None
    references: Sequence[ReferenceValues] = ()
    logs: Mapping[str, bytes] = field(default_factory=dict)
    history: Sequence[AttestationResult] = ()
    since: float | None = None
    last_trusted: float | None = None


def stored_evidence(evidence: QuoteEvidence | None) -> Shown | None:
    """Evidence out of the store, of a result that has a ``clock``: of a quote that held."""
    return None if evidence is None else _Stored(evidence)


@dataclass(frozen=True, slots=True)
class _Stored:
    evidence: QuoteEvidence

    @property
    def pcrs(self) -> PcrValues:
        return self.evidence.untrusted_pcrs

    @property
    def event_log(self) -> bytes | None:
        return self.evidence.untrusted_event_log

    @property
    def boot_log(self) -> tuple[BootEvent, ...] | None:
        return self.evidence.untrusted_boot_log


def explain(
    result: AttestationResult,
    now: float,
    known: Known | None = None,
    state: State | None = None,
    word: str = "",
) -> Explanation:
    """The result in plain words. state: what the host is now; the result's own, or STALE, unless given.

    word: what the host is called in commands that people paste; its UUID unless given.
    """
    known = known or Known()
    if state is None:
        state = result.state if now < result.expires_at else State.STALE
    shown = known.shown if result.clock is not None else None
    run = _history(result, known)
    ordered = _ordered(result.findings)
    paragraphs = [_explained(one, run, shown, known) for one in ordered]
    for number, one in enumerate(ordered):
        if _contradicted(one, ordered, shown):
            paragraphs[number] = replace(paragraphs[number], notes=(_CONTRADICTION,))
    name = one_line(result.host_name) or result.host_id
    return Explanation(
        host_id=result.host_id,
        host_name=name,
        state=state,
        headline=_headline(result, state).format(name),
        facts=tuple(_facts(result, run, now, known)),
        paragraphs=tuple(paragraphs),
        advice=tuple(_advice(ordered, state, word or result.host_id)),
    )


def _headline(result: AttestationResult, state: State) -> str:
    """A sentence or two with a place for the name. A wrong tag is none of what was booted."""
    if state is not State.UNTRUSTED_MEASUREMENT:
        return _HEADLINES[state]
    failed = {one.code for one in result.findings if one.failed}
    if failed <= _SETUP:
        return _SETUP_HEADLINE
    if all(code.startswith("ASSET_TAG_") for code in failed - _SETUP):
        return "{} is not trusted: its asset tag is not the expected one."
    return _HEADLINES[state] + (_UNDONE_HEADLINE if _only_undone(result.findings) else "")


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The gravest first; before them the host's word that measured boot was undone, where that is all."""
    found = tuple(findings)
    first = _UNDONE if _only_undone(found) else ""
    return sorted(found, key=lambda one: (one.code != first, _ORDER[one.severity]))


def _only_undone(findings: Iterable[Finding]) -> bool:
    """Whether the host says that its measured boot was undone, the registers of GRUB are blank as they are
    then, and nothing has failed that this does not explain."""
    found = tuple(findings)
    blank = _failed_registers(one for one in found if one.code == "PCR_NOT_EXTENDED")
    fits = blank >= _BY_BOOT_LOADER and _failed_registers(found) <= _BY_BOOT_LOADER | {_BOOT_LOADER}
    return fits and any(one.code == _UNDONE for one in found)


def _contradicted(found: Finding, findings: Iterable[Finding], shown: Shown | None) -> bool:
    """Whether the host says that measured boot was undone, and GRUB has measured, but something else."""
    if found.code != _UNDONE or found.actual == "tboot" or shown is None:
        return False
    extended = {
        pcr
        for values in shown.pcrs.values()
        for pcr in _BY_BOOT_LOADER
        if is_extended(pcr, values.get(pcr, b""))
    }
    return bool(extended & _failed_registers(findings))


def _failed_registers(findings: Iterable[Finding]) -> set[int]:
    """The numbers of the registers that failed; -1 for what failed that is no register."""
    places = (_REGISTER.fullmatch(one.where) for one in findings if one.failed and one.code != _UNDONE)
    return {-1 if place is None else int(place.group(1)) for place in places}


def explain_unenrolled(host: UnenrolledHost, pool: PoolRecord) -> Explanation:
    """A host of which no keys are known, in plain words."""
    name = one_line(host.name) or host.host_id
    enrol = f"xentpm-attest enroll {shlex.quote(pool.addresses[0])} --host {host.host_id} --ek-ca FILE"
    return Explanation(
        host_id=host.host_id,
        host_name=name,
        state=State.NOT_ENROLLED,
        headline=_HEADLINES[State.NOT_ENROLLED].format(name),
        facts=(("pool", one_line(pool.name)), ("seen", _time(host.seen_at))),
        advice=(
            f"Enrol it: {enrol}.",
            f"It is not to be watched: xentpm-attest forget {host.host_id}.",
        ),
    )


def _history(result: AttestationResult, known: Known) -> list[AttestationResult]:
    """The result and the earlier ones of the host, newest first, each once."""
    earlier = {
        one.appraised_at: one
        for one in known.history
        if one.host_id == result.host_id and one.appraised_at < result.appraised_at
    }
    return [result, *(earlier[at] for at in sorted(earlier, reverse=True))]


def _facts(
    result: AttestationResult, run: Sequence[AttestationResult], now: float, known: Known
) -> Iterable[tuple[str, str]]:
    pairs = zip(run, run[1:], strict=False)
    first = next((newer for newer, older in pairs if older.state is not result.state), run[-1])
    yield "since", _when(first.appraised_at if known.since is None else known.since, now)
    yield "looked at", _when(result.appraised_at, now)
    if result.verdict is Verdict.TRUSTED:
        yield "until", _when(result.expires_at, now)
    else:
        seen = (one.appraised_at for one in run if one.verdict is Verdict.TRUSTED)
        last = next(seen, known.last_trusted)
        yield "last trusted", "never, as far as is known" if last is None else _when(last, now)
    yield "policy", one_line(result.policy.name)
    trusted = result.verdict is Verdict.TRUSTED
    labels = [one_line(one.label) for one in result.references if one.matched or not trusted]
    if labels:
        yield "matches" if trusted else "compared with", ", ".join(dict.fromkeys(labels))
    if result.ek_trust:
        yield "TPM known by", result.ek_trust.replace("_", " ")


def _explained(
    found: Finding, run: Sequence[AttestationResult], shown: Shown | None, known: Known
) -> Paragraph:
    what, notes = one_line(found.component), list[str]()
    if found.code == "PCR_CHANGED":
        notes, narrowed = changed_register(found, shown, known.references, known.logs)
        what = narrowed or what
    elif found.code == "BOOT_LOG_MISMATCH":
        notes, narrowed = changed_since_boot(found, shown, known.references, known.logs)
        what = narrowed or what
    elif shown is not None and event_at(found.where, shown):
        notes = ["the event: " + event_at(found.where, shown)]
    facts = (
        ("expected", found.expected),
        ("seen", found.actual),
        ("detail", found.detail),
        ("since", _since(found, run)),
    )
    title = found.kind.title + (f": {what}" if what else "")
    title += f" ({one_line(found.where)})" if found.where else ""
    told = tuple((name, one_line(value)) for name, value in facts if value)
    return Paragraph(found.code, found.severity, title, told, tuple(notes))


def _since(found: Finding, run: Sequence[AttestationResult]) -> str:
    """When the finding was made first without a break; whether the host was started anew then."""
    if not found.failed or found.kind.category is Category.COLLECTION:
        return ""
    first = run[0]
    for one in run[1:]:
        if not any(_same(found, other) for other in one.findings):
            break
        first = one
    started = any(one.code == "HOST_REBOOTED" for one in first.findings)
    return _time(first.appraised_at) + (", when the host was started anew" if started else "")


def _same(one: Finding, other: Finding) -> bool:
    return (one.code, one.where, one.severity) == (other.code, other.where, other.severity)


def _advice(ordered: Iterable[Finding], state: State, word: str) -> Iterable[str]:
    """What to do, each once. Commands in it can be typed as they stand: ``word`` is in the place of HOST."""
    sentences = [_STALE_ADVICE] if state is State.STALE else []
    sentences += [one.kind.advice for one in ordered if one.severity is not Severity.INFO and one.kind.advice]
    return dict.fromkeys(advice_for(one, word) for one in sentences)


def _when(at: float, now: float) -> str:
    """``2026-11-23 18:48:10 UTC``, and how far that is away."""
    seconds = abs(now - at)
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    distance = f"{int(seconds // size)} {unit}"
    return f"{_time(at)} ({distance} ago)" if at <= now else f"{_time(at)} (in {distance})"


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
