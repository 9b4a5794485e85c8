"""PCR values and the quote over them, consistent with each other.

Spec: TPM 2.0 Library, Part 3 "TPM2_PCR_Read", "TPM2_Quote"; Part 1 "Attestation".
"""

import hmac
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from xentpm_lib.errors import TpmError, UsageError
from xentpm_lib.evidence.pcr import PcrSelection, PcrValues, composite_digest
from xentpm_lib.evidence.tpm_structures import Attest, Signature
from xentpm_lib.evidence.wire import Reader
from xentpm_lib.tpm.capabilities import active_banks
from xentpm_lib.tpm.esys import PASSWORD, Esys, Input
from xentpm_lib.tpm.keys import LoadedKey, check_qualified_name
from xentpm_lib.tpm.response_codes import RC, base_code

__all__ = ["KEYS_OWN_SCHEME", "QUOTABLE_BANKS", "Quote", "is_measured", "make_quote", "read_pcrs", "sized"]

QUOTABLE_BANKS = ("sha512", "sha384", "sha256")
"""Banks that a quote may rest on, the strongest first."""

_ALL_PCRS = tuple(range(24))
_TRIES = 5
KEYS_OWN_SCHEME = Input("TPMT_SIG_SCHEME", b"\x00\x10")  # TPM_ALG_NULL


class Quote(NamedTuple):
    """``attest``: TPMS_ATTEST; ``signature``: TPMT_SIGNATURE; ``values``: what was signed."""

    attest: bytes
    signature: bytes
    values: PcrValues


def make_quote(esys: Esys, key: LoadedKey, nonce: bytes, selection: Optional[PcrSelection]) -> Quote:
    """Read the selected PCRs and have ``key`` sign them with ``nonce`` (up to 64 bytes) as extraData.

    Without a selection: all 24 PCRs of the strongest active bank of SHA-256 or better.
    Where a PCR changes between reading and signing, both are done again.

    Raises:
        UsageError: a bank of the selection is not active, or the TPM takes no nonce of this size.
        TpmError: ``XENTPM_NO_BANK``, ``XENTPM_FOREIGN_KEY``, ``XENTPM_PCRS_CHANGE``.
    """
    for _ in range(_TRIES):
        values = read_pcrs(esys, selection) if selection else _read_strongest_bank(esys)
        asked = selection or _all_of(next(iter(values)))
        quoted, signature = _sign(esys, key, nonce, asked)
        attest = Attest.from_bytes(quoted[2:])
        check_qualified_name(attest.qualified_signer, key)
        if _is_over(attest, values, asked, Signature.from_bytes(signature).hash):
            return Quote(quoted[2:], signature, values)
    raise TpmError(
        "The PCRs changed during each of {} quotes".format(_TRIES),
        "Something on this host extends PCRs all the time: find it, or leave its PCR out with pcrs=.",
        "XENTPM_PCRS_CHANGE",
    )


def _sign(esys: Esys, key: LoadedKey, nonce: bytes, selection: PcrSelection) -> Tuple[bytes, bytes]:
    inputs = [sized("TPM2B_DATA", nonce), KEYS_OWN_SCHEME, Input("TPML_PCR_SELECTION", selection.to_bytes())]
    try:
        quoted, signature = esys.command(
            "Quote", [key.handle], [PASSWORD], inputs, ["TPM2B_ATTEST", "TPMT_SIGNATURE"]
        )
    except TpmError as error:
        if error.rc is not None and base_code(error.rc) == RC.SIZE:
            raise UsageError(
                "nonce: this TPM takes none of {} bytes".format(len(nonce)),
                "Send 16 to 32 bytes, which every TPM takes.",
            ) from error
        raise
    return quoted, signature


def read_pcrs(esys: Esys, selection: PcrSelection, known: Optional[PcrValues] = None) -> PcrValues:
    """The values of the selected PCRs, but for those ``known``. A command for every 8 of them.

    Raises:
        UsageError: a bank or PCR of the selection is not active in this TPM.
    """
    values: Dict[str, Dict[int, bytes]] = {
        bank: dict((known or {}).get(bank, {})) for bank, _ in selection.banks
    }
    missing = _without(selection, values)
    while missing.banks:
        try:
            read = _read_some(esys, missing)
        except TpmError as error:
            if not _is_unknown_bank(error):
                raise
            read = []
        for bank, index, digest in read:
            values[bank][index] = digest
        if not read:
            raise _inactive(esys, missing)
        missing = _without(missing, values)
    return values


def _read_strongest_bank(esys: Esys) -> PcrValues:
    """All PCRs of the strongest bank that was measured; of the strongest active one where none was.

    The first read asks for all banks and so finds out which is active. A bank that firmware left at zero is
    not chosen: anybody in dom0 could extend it to what a good boot would have made of it.
    """
    active: List[Tuple[str, Dict[int, bytes]]] = []
    candidates: Tuple[str, ...] = QUOTABLE_BANKS
    while candidates:
        read = _read_first_of(esys, candidates)
        bank = read[0][0] if read else ""
        if not bank:
            break
        active.append((bank, {index: digest for name, index, digest in read if name == bank}))
        if is_measured(active[-1][1].values()):
            return read_pcrs(esys, _all_of(bank), dict(active[-1:]))
        candidates = candidates[candidates.index(bank) + 1 :]
    if active:
        return read_pcrs(esys, _all_of(active[0][0]), dict(active[:1]))
    bank = _strongest(active_banks(esys))
    return read_pcrs(esys, _all_of(bank))


def is_measured(values: Iterable[bytes]) -> bool:
    """Whether any of these values of PCR 0 to 7 was extended."""
    return any(any(value) for value in values)


def _read_first_of(esys: Esys, banks: Sequence[str]) -> List[Tuple[str, int, bytes]]:
    try:
        return _read_some(esys, PcrSelection(tuple((bank, _ALL_PCRS) for bank in banks)))
    except TpmError as error:
        if not _is_unknown_bank(error):  # a TPM may refuse a bank that it does not know
            raise
        return []


def _strongest(banks: Sequence[str]) -> str:
    for bank in QUOTABLE_BANKS:
        if bank in banks:
            return bank
    raise TpmError(
        "The TPM has no active PCR bank of SHA-256 or better; active: {}".format(", ".join(banks) or "none"),
        "Activate the SHA-256 bank in the BIOS (or with tpm2_pcrallocate), then restart the host.",
        "XENTPM_NO_BANK",
    )


def _all_of(bank: str) -> PcrSelection:
    return PcrSelection(((bank, _ALL_PCRS),))


def sized(kind: str, data: bytes) -> Input:
    """``data`` as a TPM2B of type ``kind``."""
    return Input(kind, len(data).to_bytes(2, "big") + data)


def _read_some(esys: Esys, selection: PcrSelection) -> List[Tuple[str, int, bytes]]:
    inputs = [Input("TPML_PCR_SELECTION", selection.to_bytes())]
    _counter, read, digests = esys.command(
        "PCR_Read", (), (), inputs, ("UINT32", "TPML_PCR_SELECTION", "TPML_DIGEST")
    )
    reader = Reader(digests, "TPML_DIGEST")
    values = [reader.sized(64) for _ in range(reader.u32())]
    places = [(bank, index) for bank, indices in PcrSelection.from_bytes(read).banks for index in indices]
    if len(places) != len(values):
        raise TpmError("The TPM returned {} PCR values for {} PCRs".format(len(values), len(places)))
    return [(bank, index, digest) for (bank, index), digest in zip(places, values)]


def _is_unknown_bank(error: TpmError) -> bool:
    return error.rc is not None and base_code(error.rc) in (RC.HASH, RC.VALUE, RC.SIZE)


def _without(selection: PcrSelection, values: PcrValues) -> PcrSelection:
    left = ((bank, tuple(i for i in indices if i not in values[bank])) for bank, indices in selection.banks)
    return PcrSelection(tuple((bank, indices) for bank, indices in left if indices))


def _inactive(esys: Esys, selection: PcrSelection) -> UsageError:
    return UsageError(
        "pcrs: the TPM has no value for {}; active banks: {}".format(
            selection.to_text(), ", ".join(active_banks(esys)) or "none"
        ),
        "Ask for PCRs of an active bank, or activate the bank in the BIOS and restart the host.",
    )


def _is_over(attest: Attest, values: PcrValues, selection: PcrSelection, hash_name: str) -> bool:
    quote = attest.quote
    if quote is None or quote.selection != selection:
        raise TpmError("The TPM quoted another PCR selection than was asked for")
    return hmac.compare_digest(quote.pcr_digest, composite_digest(values, selection, hash_name))
