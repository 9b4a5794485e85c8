"""The checks of the preparation check that need the TPM. They read only; one lock, one connection."""

from typing import Callable, Iterator, List, NamedTuple, Tuple

from xentpm_lib.errors import FormatError, TpmError, XenTpmError
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.host.boot.facts import BootFacts
from xentpm_lib.host.boot.links import EXTENDED_BY_OTHERS, links_of
from xentpm_lib.host.boot.tpm_view import view_of
from xentpm_lib.host.config import Config, load_config
from xentpm_lib.host.host import Host, HostTpm
from xentpm_lib.host.paths import Paths
from xentpm_lib.host.status import FAILED, OK, UNKNOWN, WARNING, Check
from xentpm_lib.tpm.capabilities import Properties, active_banks, handles_from, read_properties
from xentpm_lib.tpm.endorsement import find_certificate
from xentpm_lib.tpm.keys import EK_HANDLE, open_key
from xentpm_lib.tpm.ownership import OLD_DEFAULT_AUTH, is_owned
from xentpm_lib.tpm.quoting import QUOTABLE_BANKS, is_measured, read_pcrs
from xentpm_lib.tpm.response_codes import LOCKOUT_HINT
from xentpm_lib.tpm.tag_pcr import TagPcr

__all__ = ["config_and_tpm_checks"]

_NV_INDICES = 0x01000000
_FIRMWARE_PCRS, _GRUB_PCRS, _LAUNCH_PCR = tuple(range(8)), (8, 9), 17


class _Seen(NamedTuple):
    """What every check of an open TPM may need."""

    host: Host
    tpm: HostTpm
    properties: Properties
    banks: Tuple[str, ...]
    config_is_good: bool


def config_and_tpm_checks(paths: Paths) -> Iterator[Check]:
    """The configuration's check, then the TPM's, with a bad configuration at the TPM's usual place."""
    try:
        config = load_config(paths.config)
    except XenTpmError as error:
        yield Check("config", "Configuration", FAILED, error.message, error.hint)
        yield from _tpm_checks(Host(paths, Config(owner_auth=OLD_DEFAULT_AUTH)), config_is_good=False)
        return
    if config.warnings:
        yield Check("config", "Configuration", WARNING, *" ".join(config.warnings).split(". ", 1))
    else:
        yield Check("config", "Configuration", OK, paths.config)
    yield from _tpm_checks(Host(paths, config), config_is_good=True)


def _tpm_checks(host: Host, config_is_good: bool) -> List[Check]:
    try:
        with host.tpm("tpm_get_status") as tpm:
            return list(_checks_of(host, tpm, config_is_good))
    except XenTpmError as error:
        return [Check("tpm_present", "TPM", FAILED, error.message, error.hint)] + _unknown_checks()


def _checks_of(host: Host, tpm: HostTpm, config_is_good: bool) -> Iterator[Check]:
    properties = read_properties(tpm.esys)
    yield Check("tpm_present", "TPM", OK, host.config.tcti)
    yield _version(properties)
    yield _enabled(properties)
    yield _lockout(properties)
    seen = _Seen(host, tpm, properties, active_banks(tpm.esys), config_is_good)
    for name, title, check in _CHECKS:
        yield _guarded(name, title, check, seen)


def _guarded(name: str, title: str, check: "_TpmCheck", seen: _Seen) -> Check:
    """A check that the TPM does not answer is unknown; it does not take the others with it."""
    try:
        state, found, advice = check(seen)
    except (TpmError, FormatError, XenTpmError) as error:
        return Check(name, title, UNKNOWN, error.message, error.hint)
    return Check(name, title, state, found, advice)


def _version(properties: Properties) -> Check:
    seen = "{} {} {}, firmware {}".format(
        properties.family, properties.manufacturer, properties.vendor_string, properties.firmware
    )
    if properties.family == "2.0":
        return Check("tpm_version", "TPM version", OK, seen)
    return Check(
        "tpm_version", "TPM version", FAILED, seen, "xentpm needs a TPM 2.0: switch its mode in the BIOS."
    )


def _enabled(properties: Properties) -> Check:
    title = "TPM enabled"
    if properties.owner_enabled and properties.endorsement_enabled:
        return Check("tpm_enabled", title, OK, "yes")
    seen = "storage hierarchy {}, endorsement hierarchy {}".format(
        "on" if properties.owner_enabled else "off", "on" if properties.endorsement_enabled else "off"
    )
    return Check("tpm_enabled", title, FAILED, seen, "Activate the TPM in the BIOS.")


def _lockout(properties: Properties) -> Check:
    count, allowed = properties.lockout_counter
    seen = "{} of {} wrong passwords".format(count, allowed)
    if not properties.in_lockout:
        return Check("tpm_lockout", "TPM lockout", OK, "not locked, " + seen)
    return Check("tpm_lockout", "TPM lockout", WARNING, "locked, " + seen, "Quotes go on. " + LOCKOUT_HINT)


def _ownership(seen: _Seen) -> "_Result":
    if not seen.config_is_good:
        return UNKNOWN, "the password is not known", "Mend the configuration first."
    if not seen.properties.owner_auth_set:
        return WARNING, "free", "It is taken at the next boot, or now with: xentpm --take_ownership"
    if is_owned(seen.tpm.esys, seen.tpm.owner_auth):
        return OK, "by this host", ""
    if is_owned(seen.tpm.esys, OLD_DEFAULT_AUTH):
        advice = "The configured password is set at the next boot, or now with: xentpm --take_ownership"
        return WARNING, "with the old default password", advice
    advice = "Clear the TPM in the BIOS, or set password= in the config to its owner's."
    return FAILED, "by somebody else", advice


def _ek_certificate(seen: _Seen) -> "_Result":
    key = open_key(seen.tpm.esys, EK_HANDLE)
    if key is None:
        return UNKNOWN, "no endorsement key yet", "It is made on first use: xentpm --get_ekey"
    indices = handles_from(seen.tpm.esys, _NV_INDICES)
    certificate = find_certificate(seen.tpm.esys, key.public, indices)
    if certificate is None:
        return (
            WARNING,
            "none for this endorsement key",
            "The verifier has to pin the key's public part: xentpm --get_ekey",
        )
    return OK, "{}, {} bytes".format(key.public.type.upper(), len(certificate)), ""


def _banks(seen: _Seen) -> "_Result":
    measured = _measured(seen)
    blank = [bank for bank in seen.banks if bank not in measured]
    if blank and len(blank) < len(seen.banks):
        advice = "Switch it off in the BIOS: anybody in dom0 can fill it with what looks like a good boot."
        return FAILED, "{}; not measured: {}".format(", ".join(seen.banks), ", ".join(blank)), advice
    if any(bank in QUOTABLE_BANKS for bank in seen.banks):
        return OK, ", ".join(seen.banks), ""
    return (
        FAILED,
        ", ".join(seen.banks) or "none",
        "Activate the SHA-256 bank in the BIOS, then restart the host.",
    )


def _grub_measured(seen: _Seen) -> "_Result":
    view = view_of(seen.host, seen.tpm)
    facts = BootFacts.find(seen.host.paths)
    extended = view.extended(*_GRUB_PCRS)
    if extended and (facts.measures or facts.grub is None):
        return OK, "PCR 8 and 9 are extended", ""
    if view.launched:
        return OK, "PCR 8 and 9 are not, the dynamic launch measures instead", ""
    if extended:
        return WARNING, EXTENDED_BY_OTHERS, facts.how_to_measure
    link = next(one for one in links_of(facts, view) if one.name == "grub")
    return WARNING, "PCR 8 and 9 are zero: {}".format(link.why), link.advice


def _dynamic_launch(seen: _Seen) -> "_Result":
    if _launched(seen):
        return OK, "happened: PCR 17 is extended", ""
    return OK, "did not happen", ""


def _asset_tag(seen: _Seen) -> "_Result":
    tag = seen.tpm.tag.peek()
    return OK, "none" if tag is None else tag.hex(), ""


def _tag_pcr(seen: _Seen) -> "_Result":
    index = seen.host.config.asset_tag_pcr
    if index is None:
        return OK, "off", ""
    if TagPcr(seen.tpm.esys, index).is_behind(seen.tpm.tag.peek()):
        return WARNING, "PCR {} does not show the tag as it is now".format(index), "Restart the host."
    return OK, "PCR {} is up to date".format(index), ""


_Result = Tuple[str, str, str]
_TpmCheck = Callable[[_Seen], _Result]
_CHECKS: Tuple[Tuple[str, str, _TpmCheck], ...] = (
    ("tpm_owned", "TPM owned", _ownership),
    ("ek_certificate", "EK certificate", _ek_certificate),
    ("pcr_banks", "Active PCR banks", _banks),
    ("grub_measured", "Xen and dom0 measured", _grub_measured),
    ("dynamic_launch", "Dynamic launch (TXT)", _dynamic_launch),
    ("asset_tag", "Asset tag", _asset_tag),
    ("asset_tag_pcr", "Asset tag in a PCR", _tag_pcr),
)


def _unknown_checks() -> List[Check]:
    head = (("tpm_version", "TPM version"), ("tpm_enabled", "TPM enabled"), ("tpm_lockout", "TPM lockout"))
    names = head + tuple((name, title) for name, title, _ in _CHECKS)
    return [Check(name, title, UNKNOWN, "no answer from a TPM") for name, title in names]


def _launched(seen: _Seen) -> bool:
    """Without a dynamic launch PCR 17 is all ones, on some TPMs all zeros."""
    value = _read(seen, (_LAUNCH_PCR,))[0]
    return bool(value.strip(b"\xff") and value.strip(b"\x00"))


def _measured(seen: _Seen) -> List[str]:
    """The banks that firmware measures."""
    return [bank for bank in seen.banks if is_measured(_values(seen, _FIRMWARE_PCRS, bank))]


def _read(seen: _Seen, indices: Tuple[int, ...]) -> List[bytes]:
    """The values in the bank that a quote rests on by default."""
    banks = _measured(seen) or seen.banks
    bank = next((name for name in QUOTABLE_BANKS + seen.banks if name in banks), None)
    if bank is None:
        raise TpmError("the TPM has no active PCR bank")
    return _values(seen, indices, bank)


def _values(seen: _Seen, indices: Tuple[int, ...], bank: str) -> List[bytes]:
    values = read_pcrs(seen.tpm.esys, PcrSelection(((bank, indices),)))
    return [values[bank][index] for index in indices]
