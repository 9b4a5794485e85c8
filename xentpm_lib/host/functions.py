"""The plugin's functions: ``(host, arguments) -> str``, strings in and an ASCII string out.

Whatever can be wrong with the arguments is found before the TPM is touched.
"""

import json
from typing import Dict, Optional, Tuple

from xentpm_lib.errors import FormatError, UsageError, XenTpmError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.boot_setup import BootSetup
from xentpm_lib.evidence.credential_file import Credential
from xentpm_lib.evidence.encoding import decode_base64, decode_hex, encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import PcrSelection, PcrValues
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.host.clock import utc_now
from xentpm_lib.host.host import Host, HostTpm
from xentpm_lib.tpm.asset_tag import TAG_SIZES
from xentpm_lib.tpm.credential import activate_credential
from xentpm_lib.tpm.endorsement import endorsement_key, read_endorsement
from xentpm_lib.tpm.keys import require_endorsement_primary
from xentpm_lib.tpm.quoting import QUOTABLE_BANKS, make_quote
from xentpm_lib.tpm.tag_pcr import TagPcr

__all__ = [
    "MAXIMUM_NONCE_BYTES",
    "MINIMUM_NONCE_BYTES",
    "Arguments",
    "answer_challenge",
    "clear_asset_tag",
    "get_identity",
    "get_quote",
    "get_status",
    "predict_boot",
    "read_identity",
    "set_asset_tag",
]

MINIMUM_NONCE_BYTES, MAXIMUM_NONCE_BYTES = 16, 64
MAXIMUM_CHALLENGE_BYTES = 1024
_GRUB_PCRS = (8, 9)
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")

Arguments = Dict[str, str]


def get_identity(host: Host, arguments: Arguments) -> str:
    """``tpm_get_attestation_identity``: the identity XML of docs/evidence-format.md.

    Raises:
        XenTpmError: codes in docs/plugin-api.md, here and in every function below.
    """
    _take(arguments)
    return read_identity(host).to_xml()


def read_identity(host: Host) -> Identity:
    """The host's identity; its keys are made on first use."""
    system_uuid = host.dom0.system_uuid
    with host.tpm("tpm_get_attestation_identity") as tpm:
        endorsement = read_endorsement(tpm.esys, tpm.owner_auth)
        ak = tpm.keys.attestation_key()
        require_endorsement_primary(tpm.esys, endorsement.key)
        require_endorsement_primary(tpm.esys, ak)
    return Identity(
        ek_certificate=endorsement.certificate,
        ek=endorsement.key.public,
        ak=ak.public,
        system_uuid=system_uuid,
        ek_certificate_chain=endorsement.chain,
    )


def get_quote(host: Host, arguments: Arguments) -> str:
    """``tpm_get_quote`` and ``quote``: the quote evidence JSON."""
    values = _take(arguments, "nonce", pcrs=None, event_log="true")
    nonce = _base64(values["nonce"], "nonce", MINIMUM_NONCE_BYTES, MAXIMUM_NONCE_BYTES)
    selection = None if values["pcrs"] is None else _selection(values["pcrs"])
    event_log = _event_log(host) if _boolean(values["event_log"], "event_log") else None
    host_uuid = host.dom0.host_uuid
    with host.tpm("tpm_get_quote") as tpm:
        ak = tpm.keys.attestation_key()
        quote = make_quote(tpm.esys, ak, nonce, selection)
        tag = tpm.tag.certify(ak, nonce)
    return QuoteEvidence(
        untrusted_host_uuid=host_uuid,
        untrusted_created=utc_now(),
        untrusted_ak_name=ak.name,
        untrusted_ak_public=ak.public.to_tpm2b(),
        attest=quote.attest,
        signature=quote.signature,
        untrusted_pcrs=quote.values,
        asset_tag=tag,
        untrusted_event_log=event_log,
        untrusted_boot_log=_boot_log(host, quote.values),
        untrusted_boot_setup=_boot_setup(host, quote.values),
    ).to_json()


def _boot_setup(host: Host, values: PcrValues) -> Optional[BootSetup]:
    """How the measured boot set-up stands; None too where that cannot be told, of which the status tells."""
    from xentpm_lib.host.boot.verification import boot_setup

    found = [bank[index] for bank in values.values() for index in (8, 9) if index in bank]
    try:
        return boot_setup(host.paths, any(map(any, found)) if found else None)
    except Exception:  # whatever it is, a quote does not fail for it
        return None


def _event_log(host: Host) -> Optional[bytes]:
    """The firmware's log; None where there is none, or one that is too large, of which the status tells."""
    try:
        return host.dom0.event_log()
    except XenTpmError:
        return None


def _boot_log(host: Host, values: PcrValues) -> Optional[Tuple[BootEvent, ...]]:
    """What GRUB must have measured, computed from the files; None where it measured nothing."""
    if not any(any(bank.get(pcr, b"")) for bank in values.values() for pcr in _GRUB_PCRS):
        return None
    from xentpm_lib.host.boot.prediction import boot_log_for_quote

    return boot_log_for_quote(host.paths, values)


def answer_challenge(host: Host, arguments: Arguments) -> str:
    """``tpm_challenge``: base64 of the secret in a credential file of tpm2-tools' format."""
    data = _base64(_take(arguments, "challenge")["challenge"], "challenge", 1, MAXIMUM_CHALLENGE_BYTES)
    try:
        credential = Credential.from_bytes(data)
    except FormatError as error:
        raise UsageError(
            "challenge: it is no credential file of tpm2-tools ({})".format(error),
            "Make it with: tpm2_makecredential -T none -u EK -n AKNAME -s SECRET -o FILE",
        ) from error
    with host.tpm("tpm_challenge") as tpm:
        ek = endorsement_key(tpm.esys, tpm.owner_auth)
        return encode_base64(activate_credential(tpm.esys, ek, tpm.keys.attestation_key(), credential))


def set_asset_tag(host: Host, arguments: Arguments) -> str:
    """``tpm_set_asset_tag``: JSON ``{"asset_tag": hex, "reboot_required": bool}``."""
    tag = _tag(_take(arguments, "tag")["tag"] or "")
    with host.tpm("tpm_set_asset_tag") as tpm:
        tpm.tag.set(tag)
        return _tag_state(host, tpm, tag)


def clear_asset_tag(host: Host, arguments: Arguments) -> str:
    """``tpm_clear_asset_tag``: the same with ``null``; clearing nothing succeeds."""
    _take(arguments)
    with host.tpm("tpm_clear_asset_tag") as tpm:
        tpm.tag.clear()
        return _tag_state(host, tpm, None)


def get_asset_tag(host: Host, arguments: Arguments) -> str:
    """The same for the tag as it is. Not a plugin function: a quote proves the tag, this only reads it."""
    _take(arguments)
    with host.tpm("tpm_get_asset_tag") as tpm:
        return _tag_state(host, tpm, tpm.tag.get())


def get_status(host: Host, arguments: Arguments) -> str:
    """``tpm_get_status``: the preparation check as JSON."""
    from xentpm_lib.host.status import status_of  # not needed by the functions that are called all day

    _take(arguments)
    return status_of(host.paths).to_json()


def predict_boot(host: Host, arguments: Arguments) -> str:
    """``tpm_predict_boot``: what GRUB will measure at the next boot, as JSON (docs/evidence-format.md)."""
    from xentpm_lib.evidence.boot_prediction import BootPrediction
    from xentpm_lib.host.boot.prediction import predict
    from xentpm_lib.host.boot.prediction_report import banks_and_values

    _take(arguments)
    host_uuid = host.dom0.host_uuid
    prediction = predict(host.paths, *banks_and_values(host, "tpm_predict_boot"))
    return BootPrediction(
        untrusted_host_uuid=host_uuid,
        untrusted_created=utc_now(),
        untrusted_entry=prediction.entry,
        untrusted_boot_log=prediction.events,
        untrusted_notes=prediction.notes,
    ).to_json()


def _tag_state(host: Host, tpm: HostTpm, tag: Optional[bytes]) -> str:
    index = host.config.asset_tag_pcr
    behind = index is not None and TagPcr(tpm.esys, index).is_behind(tag)
    return json.dumps({"asset_tag": tag.hex() if tag else None, "reboot_required": behind})


def _take(arguments: Arguments, *required: str, **optional: Optional[str]) -> Dict[str, Optional[str]]:
    """``arguments`` with the defaults of what is absent; nothing unknown, nothing missing."""
    known = required + tuple(optional)
    expected = "Arguments: {}.".format(", ".join(known) if known else "none")
    for name in arguments:
        if name not in known:
            raise UsageError("unknown argument {}".format(ascii(name[:64])), expected)
    for name in required:
        if name not in arguments:
            raise UsageError("argument {} is missing".format(name), expected)
    return dict(optional, **arguments)


def _base64(text: Optional[str], name: str, minimum: int, maximum: int) -> bytes:
    try:
        return decode_base64(text or "", name, minimum, maximum)
    except FormatError as error:
        raise UsageError(
            str(error), error.hint or "Send base64 of {} to {} bytes.".format(minimum, maximum)
        ) from error


def _selection(text: str) -> PcrSelection:
    hint = "Write it like sha256:0,1,2+sha384:all; it needs one of {}.".format(
        ", ".join(reversed(QUOTABLE_BANKS))
    )
    try:
        selection = PcrSelection.from_text(text)
    except FormatError as error:
        raise UsageError(str(error), hint) from error
    if not any(bank in QUOTABLE_BANKS for bank in selection.bank_names()):
        raise UsageError("pcrs: {} alone is not enough".format("+".join(selection.bank_names())), hint)
    return selection


def _boolean(text: Optional[str], name: str) -> bool:
    if text not in ("true", "false"):
        got = ascii((text or "")[:32])
        raise UsageError(
            "{}: expected true or false, got {}".format(name, got), "Write {}=true.".format(name)
        )
    return text == "true"


def _tag(text: str) -> bytes:
    """40, 64 or 96 hex digits, else base64: a tag can be read in one way only."""
    hint = "Send 20, 32 or 48 bytes as hex or base64, for example: echo -n <text> | sha1sum | cut -c1-40"
    is_hex = bool(text) and set(text) <= _HEX_DIGITS
    if is_hex and len(text) not in [2 * size for size in TAG_SIZES]:
        raise UsageError("tag: expected 40, 64 or 96 hex digits, got {}".format(len(text)), hint)
    try:
        tag = decode_hex(text, "tag", 20, 48, any_case=True) if is_hex else decode_base64(text, "tag", 1, 64)
    except FormatError as error:
        raise UsageError(str(error), hint) from error
    if len(tag) not in TAG_SIZES:
        raise UsageError("tag: expected 20, 32 or 48 bytes, got {}".format(len(tag)), hint)
    if not any(tag):
        raise UsageError("tag: all zeros stand for no tag", "To remove the tag call tpm_clear_asset_tag.")
    return tag
