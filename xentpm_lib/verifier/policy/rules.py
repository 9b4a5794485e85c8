"""Whether the parts of a policy fit together: what each value by itself does not show.

Each rule is here because a policy that breaks it looks stricter than it is.
"""

from __future__ import annotations

from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.policy.model import BankRules, BootPath, Policy, Replay, TagRule
from xentpm_lib.verifier.toml_reader import Table
from xentpm_lib.verifier.toml_values import duration_text

__all__ = ["check_rules"]

_CHAIN = {  # without these compared, the others prove nothing of what the boot path is named after
    BootPath.UEFI_GRUB: (0, 4, 8, 9),
    BootPath.TXT: (17, 18, 19),
    BootPath.FIRMWARE: (0,),
}
_LAUNCH_PCRS = (17, 18)
_REQUIRED_BY = {  # what a rule requires is no requirement when these do not fail
    "event_log": ("EVENT_LOG_MISSING", "EVENT_LOG_MALFORMED", "EVENT_LOG_MISMATCH"),
    "asset_tag": ("ASSET_TAG_MISSING", "ASSET_TAG_WRONG"),
}
_RESETTABLE = (16, 23)  # software in dom0 can reset and extend these at will
_SERIAL_NUMBERS = 1


def check_rules(policy: Policy, root: Table) -> None:
    """Note what does not fit in ``root``, the file that the policy was read from."""
    pcrs = root.table("pcrs")
    for rules in policy.banks:
        if pcrs.right(rules.bank):
            _check_bank(rules, pcrs.table(rules.bank))
            if root.right("boot"):
                _check_extended(rules, policy.boot, pcrs.table(rules.bank))
    if policy.banks and pcrs.right(""):
        _check_chain(policy, root)
        _check_launch(policy, root)
        _check_event_log(policy, root.table("event_log"))
    _check_findings(policy, root.table("findings"))
    _check_timing(policy, root.table("timing"))


def _check_bank(rules: BankRules, table: Table) -> None:
    if not rules.compared:
        table.wrong("", "no PCR is compared", "List PCRs in shared, in per_host, or in both.")
    for pcr in sorted(set(rules.shared) & set(rules.per_host)):
        table.wrong("per_host", f"PCR {pcr} is in shared, too", "Leave it in one of them.")
    if _SERIAL_NUMBERS in rules.shared:
        table.wrong("shared", "PCR 1 holds serial numbers, so no two hosts agree", "Move it to per_host.")
    for pcr in sorted({*rules.compared, *rules.extended} & {*_RESETTABLE}):
        table.wrong("", f"PCR {pcr} can be reset by software, so it proves nothing", "Take it out.")
    if rules.compared and not rules.extended:
        table.wrong(
            "extended",
            "it is empty: a bank that firmware leaves alone would pass",
            "Take the line out; then all compared PCRs have to be extended.",
        )


def _check_extended(rules: BankRules, boot: BootPath, table: Table) -> None:
    """A register that a boot path is named after may not be blank where it is compared: a host that measures
    nothing would match the reference values that it gave."""
    blank = sorted(set(_CHAIN[boot]) & set(rules.compared) - set(rules.extended))
    if blank and rules.extended:
        table.wrong(
            "extended",
            f'PCR {_numbers(blank)} is not in it, which boot = "{boot.value}" says that the host measures',
            "Add it, or take the line out; then all compared PCRs have to be extended.",
        )


def _check_chain(policy: Policy, root: Table) -> None:
    if not root.right("boot"):
        return
    missing = sorted(set(_CHAIN[policy.boot]) - _compared(policy))
    if missing:
        root.wrong(
            "pcrs",
            f'boot = "{policy.boot.value}" needs PCR {_numbers(missing)} compared',
            'For hosts that measure no more than their firmware: boot = "firmware".',
        )


def _check_launch(policy: Policy, root: Table) -> None:
    launch = root.table("dynamic_launch")
    if not (launch.right("required") and root.right("boot")):
        return
    if policy.boot is BootPath.TXT and not policy.dynamic_launch:
        launch.wrong("required", 'boot = "txt" is a dynamic launch', "Take the line out.")
    missing = sorted(set(_LAUNCH_PCRS) - _compared(policy))
    if policy.boot is not BootPath.TXT and policy.dynamic_launch and missing:
        message = f"PCR {_numbers(missing)} is not compared, so nothing says what was launched"
        launch.wrong("required", message, "Compare PCR 17 and 18, too.")


def _check_event_log(policy: Policy, table: Table) -> None:
    if table.right("") and policy.replay is not Replay.IGNORED and not policy.event_log_pcrs:
        message = "no PCR has to be what the log leads to"
        table.wrong("pcrs", message, 'List some of 0 to 15, or write replay = "ignored".')


def _check_findings(policy: Policy, table: Table) -> None:
    required = {
        "event_log": policy.replay is Replay.REQUIRED,
        "asset_tag": policy.asset_tag is TagRule.REQUIRED,
    }
    for rule, codes in _REQUIRED_BY.items():
        for code in codes:
            weight = policy.severities.get(code, Severity.FAILED)
            if required[rule] and weight is not Severity.FAILED:
                hint = f"Take the line out, or require no {rule.replace('_', ' ')}."
                table.wrong(code, f'it is "{weight.value}", and {rule} is required', hint)


def _check_timing(policy: Policy, table: Table) -> None:
    timing = policy.timing
    if not all(map(table.right, ("period", "jitter", "lease"))):
        return
    longest = timing.period * (1 + timing.jitter)
    if timing.lease < longest:
        message = f"trust ends after {duration_text(timing.lease)}, before it is renewed"
        hint = f"At least {duration_text(longest)}: period and jitter. Three times the period is usual."
        table.wrong("lease", message, hint)


def _compared(policy: Policy) -> set[int]:
    return {pcr for rules in policy.banks for pcr in rules.compared}


def _numbers(pcrs: list[int]) -> str:
    return ", ".join(map(str, pcrs))
