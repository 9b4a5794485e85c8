"""The layout of a policy file: which tables and keys there are, their types, ranges and defaults.

docs/policy.md says the same to its authors. Whether the parts fit together is checked in ``rules``.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TypeVar

from xentpm_lib.verifier.findings import FINDING_KINDS, Severity
from xentpm_lib.verifier.policy.model import BankRules, BootPath, Policy, Replay, TagRule, Timing
from xentpm_lib.verifier.records import EkTrust
from xentpm_lib.verifier.toml_reader import Table
from xentpm_lib.verifier.toml_values import suggestion

__all__ = ["BANKS", "SIGNATURE_HASHES", "read_policy"]

BANKS = ("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512")
"""The PCR banks that a policy may ask for: SHA-256 or better."""

SIGNATURE_HASHES = ("sha256", "sha384", "sha512")
"""The hashes that a quote may be signed with."""

_VERSION = 1
_NAME = "[a-z0-9][a-z0-9._-]{0,63}"
_LAST_PCR = 23
_LAST_LOGGED_PCR = 15  # what firmware and boot loader measure into
_SECOND, _MINUTE, _HOUR, _DAY = 1.0, 60.0, 3600.0, 86400.0

Word = TypeVar("Word", bound=Enum)


def read_policy(root: Table, text: str) -> Policy:
    """The policy in a parsed file. It counts only when no mistake was noted. text: the file."""
    root.integer("version", minimum=_VERSION, maximum=_VERSION)
    name = root.text("name", pattern=_NAME, hint="Lower-case letters, digits, dots, hyphens; at most 64.")
    boot = root.choice("boot", _words(BootPath))
    banks = _banks(root.table("pcrs", required=True))
    replay, log_pcrs = _event_log(root.table("event_log"), banks)
    keys, launch = root.table("keys"), root.table("dynamic_launch")
    return Policy(
        name=name,
        title=root.text("title", name),
        boot=boot,
        banks=banks,
        dynamic_launch=launch.boolean("required", boot is BootPath.TXT),
        replay=replay,
        event_log_pcrs=log_pcrs,
        asset_tag=root.table("asset_tag").choice("rule", _words(TagRule), TagRule.OPTIONAL),
        ek_trust=keys.choices("ek", _words(EkTrust), (EkTrust.CERTIFICATE, EkTrust.PINNED)),
        hashes=keys.choices("hashes", {word: word for word in SIGNATURE_HASHES}, SIGNATURE_HASHES),
        timing=_timing(root.table("timing")),
        severities=_severities(root.table("findings")),
        disable_host=root.table("actions").boolean("disable_host", False),
        keep_results_s=(retention := root.table("retention")).duration("results", 90 * _DAY, minimum=_DAY),
        keep_notifications_s=retention.duration("notifications", 90 * _DAY, minimum=_DAY),
        text=text,
        digest=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
    )


def _words(kind: type[Word]) -> dict[str, Word]:
    return {str(word.value): word for word in kind}


def _banks(table: Table) -> tuple[BankRules, ...]:
    banks = []
    for bank in table.keys():
        rules = _bank(table.table(bank), bank)
        if bank == "sha1":
            table.wrong(bank, "SHA-1 is broken", "Use sha256, or a better bank that the TPM has.")
        elif bank not in BANKS:
            table.wrong(bank, "there is no such bank", suggestion(bank, BANKS))
        else:
            banks.append(rules)
    if table.right("") and not table.keys():
        table.wrong("", "there is no bank", "Add a table like [pcrs.sha256].")
    return tuple(banks)


def _bank(table: Table, bank: str) -> BankRules:
    shared, per_host = _pcrs(table, "shared", ()), _pcrs(table, "per_host", ())
    compared = tuple(sorted({*shared, *per_host}))
    return BankRules(bank, shared, per_host, _pcrs(table, "extended", compared))


def _pcrs(table: Table, key: str, default: tuple[int, ...], last: int = _LAST_PCR) -> tuple[int, ...]:
    return tuple(sorted(table.integers(key, default, minimum=0, maximum=last)))


def _event_log(table: Table, banks: tuple[BankRules, ...]) -> tuple[Replay, tuple[int, ...]]:
    logged = {pcr for rules in banks for pcr in rules.compared if pcr <= _LAST_LOGGED_PCR}
    replay = table.choice("replay", _words(Replay), Replay.WHEN_PRESENT)
    return replay, _pcrs(table, "pcrs", tuple(sorted(logged)), _LAST_LOGGED_PCR)


def _timing(table: Table) -> Timing:
    return Timing(
        period=table.duration("period", 5 * _MINUTE, minimum=_SECOND, maximum=7 * _DAY),
        jitter=table.number("jitter", 0.1, minimum=0, maximum=0.5),
        lease=table.duration("lease", 15 * _MINUTE, minimum=_SECOND, maximum=30 * _DAY),
        evidence_age=table.duration("evidence_age", _MINUTE, minimum=_SECOND, maximum=_HOUR),
        call_timeout=table.duration("call_timeout", _MINUTE, minimum=_SECOND, maximum=10 * _MINUTE),
        attempts=table.integer("attempts", 3, minimum=1, maximum=10),
        backoff=table.duration("backoff", 5 * _SECOND, minimum=0.1 * _SECOND, maximum=10 * _MINUTE),
    )


def _severities(table: Table) -> dict[str, Severity]:
    adjustable = [code for code, kind in FINDING_KINDS.items() if kind.adjustable]
    found = {}
    for code in table.keys():
        severity = table.choice(code, _words(Severity))
        if code not in FINDING_KINDS:
            table.wrong(code, "there is no such finding", suggestion(code, FINDING_KINDS))
        elif code not in adjustable:
            table.wrong(
                code, f"it always counts as {FINDING_KINDS[code].severity.value}", "Take the line out."
            )
        else:
            found[code] = severity
    return found
