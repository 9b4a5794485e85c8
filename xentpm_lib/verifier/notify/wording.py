"""What people are told: one line, and a text of plain words below it. No markup, nothing of a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xentpm_lib.verifier.findings import advice_for
from xentpm_lib.verifier.notify.document import Document, Event, HostState, Told, clean
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.times import format_time

__all__ = ["digest_of", "summary_of", "text_of", "title_of"]

MAX_TEXT_CHARACTERS = 4000
MAX_DIGEST_CHARACTERS = 20_000
MAX_TOLD = 8
"""Findings in a text; the rest is counted."""

_STATES = {
    State.TRUSTED: "trusted",
    State.UNTRUSTED_MEASUREMENT: "NOT trusted: it did not boot what was approved",
    State.UNTRUSTED_KEY: "NOT trusted: its keys are not those of the enrolled machine",
    State.UNTRUSTED_EVIDENCE: "NOT trusted: what it sent as proof does not hold",
    State.UNREACHABLE: "unreachable: it cannot be attested",
    State.STALE: "not attested any more: the last result has expired",
    State.NOT_ENROLLED: "not enrolled",
    State.PENDING_APPROVAL: "waiting for approval: there is nothing to compare it with yet",
}


def summary_of(host: HostState) -> str:
    """One line: ``host1 is trusted again``."""
    name = clean(host.name, 100) or host.host_id
    if host.state is State.TRUSTED and host.previous is not None:
        again = "" if host.previous in (State.NOT_ENROLLED, State.PENDING_APPROVAL) else " again"
        return f"{name} is trusted{again}"
    return f"{name} is {_STATES[host.state]}"


def text_of(document: Document) -> str:
    """The whole text: what it is, since when, why, and what to do."""
    lines = [document.summary + ".", ""]
    if document.host is not None:
        lines += _host_lines(document.host)
    elif document.event is Event.TEST:
        lines.append("This is a test of the channel; nothing happened.")
    else:
        lines.append("See: xentpm-attest channels")
    text = "\n".join(lines).rstrip() + "\n"
    return text if len(text) <= MAX_TEXT_CHARACTERS else text[: MAX_TEXT_CHARACTERS - 2] + "…\n"


def title_of(documents: Sequence[Document]) -> str:
    """One line for one document or several: ``3 hosts: 2 unreachable, 1 trusted``."""
    if len(documents) == 1:
        return documents[0].summary
    latest = {one.host.host_id: one.host.state for one in documents if one.host is not None}
    if not latest:
        return f"{len(documents)} notifications of xentpm-attest"
    counted = sorted(Counter(latest.values()).items(), key=lambda item: (_weight(item[0]), -item[1]))
    told = ", ".join(f"{count} {state.value}" for state, count in counted)
    return f"{len(latest)} host{'s' * (len(latest) > 1)}: {told}"


def digest_of(documents: Sequence[Document]) -> str:
    """The text for one document or several: a line for each, then each in full, as far as it fits."""
    if len(documents) == 1:
        return text_of(documents[0])
    ordered = sorted(documents, key=lambda one: _weight(one.host.state) if one.host else 1)
    text = "".join(f"{document.summary}\n" for document in ordered)
    for document in ordered:
        more = f"\n{'-' * 60}\n{text_of(document)}"
        if len(text) + len(more) > MAX_DIGEST_CHARACTERS:
            return f"{text}\n{'-' * 60}\nMore: xentpm-attest hosts\n"
        text += more
    return text


def _weight(state: State) -> int:
    """0 for what people have to look at first."""
    return 0 if state.value.startswith("untrusted") else 1


def _host_lines(host: HostState) -> list[str]:
    pool = f" of pool {clean(host.pool_name, 100)}" if host.pool_name else ""
    before = f", before that: {host.previous.value}" if host.previous else ""
    lines = [
        f"Host {clean(host.name, 100)}{pool}",
        f"UUID {host.host_id}",
        f"State {host.state.value} since {format_time(host.since)}{before}",
        "",
    ]
    failed = [told for told in host.findings if told.severity == "failed"] or (
        [] if host.state is State.TRUSTED else list(host.findings)
    )
    for told in failed[:MAX_TOLD]:
        lines += _finding_lines(told, host.host_id)
    left = len(failed) - MAX_TOLD + host.left_out
    if left > 0:
        lines += [f"and {left} more.", ""]
    if any(told.code == "EK_FIRST_USE" for told in host.findings) and host.state is State.TRUSTED:
        lines += ["Its TPM is trusted on first use: nobody vouches that it is one.", ""]
    if host.disable and host.state is not State.TRUSTED:
        lines += ["The policy has such a host disabled: it takes no new virtual machines.", ""]
    if host.state is State.NOT_ENROLLED and host.previous is not None:  # it was forgotten
        lines.append(f"What was recorded of it: xentpm-attest history {host.host_id}")
    elif host.state is not State.TRUSTED:
        lines.append(f"More: xentpm-attest explain {host.host_id}")
    return lines


def _finding_lines(told: Told, host_id: str) -> list[str]:
    about = told.component or told.where
    lines = [f"{told.code}{f' ({about})' if about else ''}: {told.title}."]
    if told.component and told.where:
        lines.append(f"  where: {told.where}")
    lines += [
        f"  {name}: {text}" for name, text in (("expected", told.expected), ("seen", told.actual)) if text
    ]
    if told.detail:
        lines.append(f"  {told.detail}")
    if told.advice:
        lines.append(f"  To do: {advice_for(told.advice, host_id)}")
    return [*lines, ""]
